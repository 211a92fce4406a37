"""devtools/find-python finds a Python 3.13, or has uv install one."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from devtools.target import ROOT

FOUND = "#!/bin/sh\nexit 0\n"
# Passes every check but that for version 3.13.
OLDER = '#!/bin/sh\ncase $2 in *"(3, 13)"*) exit 1 ;; esac\n'
# Records its calls; a Python is there once `python install` has run.
UV = """#!/bin/sh
echo "$*" >> uv-calls
case $* in
*install*) {install} ;;
*find*) [ ! -e managed ] || echo "$PWD/managed" ;;
esac
"""
INSTALLS = "printf '#!/bin/sh\\nexit 0\\n' > managed; chmod +x managed"


@dataclass
class Machine:
    """A machine with these programs on PATH and a repository in a path with a space."""

    folder: Path

    def program(self, name: str, text: str) -> Path:
        """Install a program on PATH."""
        return self._write(self.folder / "bin" / name, text)

    def uv(self, install: str) -> None:
        """Install uv in the repository."""
        self._write(self.folder / "my clone" / ".venv-tools" / "bin" / "uv", UV.format(install=install))

    def _write(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def find(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run find-python in the repository."""
        environment = {"PATH": str(self.folder / "bin"), "HOME": str(self.folder)}
        command = ["/bin/sh", "devtools/find-python", *arguments]
        return subprocess.run(command, cwd=self.folder / "my clone", env=environment, capture_output=True, text=True, check=False)

    def uv_calls(self) -> list[str]:
        """Return how uv was called."""
        calls = self.folder / "my clone" / "uv-calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine without Python."""
    (tmp_path / "my clone" / "devtools").mkdir(parents=True)
    shutil.copy2(ROOT / "devtools" / "find-python", tmp_path / "my clone" / "devtools")
    (tmp_path / "bin").mkdir()
    for name in ("chmod", "dirname"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or "")
    return Machine(tmp_path)


@pytest.mark.parametrize("argument", [(), ("--any",), ("--install",)])
def test_python_of_the_version_is_preferred(machine: Machine, argument: tuple[str, ...]) -> None:
    machine.program("python3", OLDER)
    expected = machine.program("python3.13", FOUND)
    machine.uv(INSTALLS)
    assert machine.find(*argument).stdout.strip() == str(expected)
    assert machine.uv_calls() == []


def test_any_python_creates_the_environment_of_uv(machine: Machine) -> None:
    older = machine.program("python3", OLDER)
    assert machine.find("--any").stdout.strip() == str(older)
    assert machine.find().returncode == 1


def test_missing_python_is_installed_by_uv(machine: Machine) -> None:
    machine.program("python3", OLDER)
    machine.uv(INSTALLS)
    found = machine.find("--install")
    assert found.stdout.strip() == str(machine.folder / "my clone" / "managed")
    assert found.stderr == "setup  Python 3.13, which uv downloads\n"
    assert "--no-config python install 3.13" in machine.uv_calls()
    assert machine.find().stdout == found.stdout


@pytest.mark.parametrize("install", ["exit 2", "true"])
def test_failed_download_says_what_to_install(machine: Machine, install: str) -> None:
    machine.program("python3", OLDER)
    machine.uv(install)
    failed = machine.find("--install")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "--no-config python install 3.13" in machine.uv_calls()
    assert failed.stderr.splitlines()[-1].startswith("Python 3.13 is needed and was not found: install it")


@pytest.mark.parametrize("argument", [(), ("--any",), ("--install",)])
def test_machine_without_python_gets_one_line(machine: Machine, argument: tuple[str, ...]) -> None:
    failed = machine.find(*argument)
    assert (failed.returncode, failed.stdout) == (1, "")
    [line] = failed.stderr.splitlines()
    assert "PYTHON=/path/to/python3.13" in line
