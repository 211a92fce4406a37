"""A scratch copy of the repository, with the present environments, in which generators and removals may write."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from devtools.target import ROOT

ENVIRONMENTS = (".venv", ".venv-emulator", ".venv-localstripe", ".venv-security", ".venv-tools")
# Variables of the make that runs this test, and of its target.
OWN = ("MAKEFLAGS", "MAKELEVEL", "MAKE_VARIABLES", "MFLAGS", "PORT", "ENDPOINT", "BACKEND", "STACK", "AWS_ENDPOINT_URL")


class Clone:
    """A copy of the tracked files as they are now, committed in a repository of its own."""

    def __init__(self, folder: Path) -> None:
        """Copy the files into `folder`."""
        self.folder = folder
        for name in self._git("ls-files", "-z", at=ROOT).split("\0"):
            if name and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        for name in ENVIRONMENTS:
            (folder / name).symlink_to(ROOT / name)
        self._git("init", "--quiet")
        (folder / ".git" / "info" / "exclude").write_text("\n".join(ENVIRONMENTS), "utf-8")
        self.commit()

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run make in the clone."""
        return self.run("make", *words)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the clone, on the clone's own code."""
        environment = {name: value for name, value in os.environ.items() if name not in OWN}
        environment |= {"PYTHONPATH": str(self.folder / "layers" / "powertools"), "PYTHONHASHSEED": "0", "COLUMNS": "200"}
        return subprocess.run(words, cwd=self.folder, env=environment, check=False, capture_output=True, text=True)

    def commit(self) -> None:
        """Commit all files."""
        self._git("add", "--all")
        self._git("-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet", "--message", "Test")

    def changed(self, *, since: str) -> list[str]:
        """Return the paths that differ from those of a commit."""
        self._git("add", "--all")
        return self._git("diff", "--cached", "--name-only", since).splitlines()

    def _git(self, *words: str, at: Path | None = None) -> str:
        return subprocess.run(["git", *words], cwd=at or self.folder, check=True, capture_output=True, text=True).stdout
