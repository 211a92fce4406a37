"""`make compat`: runs the functions of an earlier release and the present ones side by side, and prints the failures.

During a canary or a rollback both releases process the same orders, so each must read the data that the other stored. FROM is a
git revision: by default the newest release tag (v*) before HEAD, or without one the commit at which the branch started.
"""

from __future__ import annotations

import io
import logging
import subprocess
from argparse import Namespace
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from devtools import cli, ui
from devtools.cli import UserError
from devtools.target import ROOT
from tests.support import findings

# Of releases that can be loaded. 1.0.0 had other module names, and no aliases behind which two versions run.
LOADABLE = "layers/powertools/orderflow/aws/clients.py"


def base() -> str:
    """Return the default revision. Raises UserError outside a clone."""
    for command in (
        ("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^"),
        ("merge-base", "HEAD", "origin/main"),
        ("merge-base", "HEAD", "main"),
    ):
        found = _git(*command)
        revision = found.stdout.strip()
        if found.returncode == 0 and _git("cat-file", "-e", f"{revision}:{LOADABLE}").returncode == 0:
            return revision
        if found.returncode == 0:
            ui.console.print(f"  {revision[:12]} has other module names and cannot be loaded; `make check` compares its events alone")
    raise UserError("there is neither a release tag nor a branch main that can be loaded; name a revision, such as FROM=HEAD~1")


def _git(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=False)


def main(arguments: Namespace) -> int:
    """Print the failures; return 1 if there are any."""
    import pytest  # noqa: PLC0415

    import tests.conftest  # noqa: F401, PLC0415 - the functions' environment, before they are imported
    from tests.compare import comparison  # noqa: PLC0415
    from tests.compat import side_by_side, versions  # noqa: PLC0415

    logging.disable(logging.CRITICAL)
    revision = arguments.from_ or base()
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, ui.stage(f"releases {revision[:12]} and present") as stage:
        comparison.checked_out(revision, Path(folder), "FROM")
        both = side_by_side.SideBySide(versions.load(Path(folder)), patch)
        with redirect_stdout(io.StringIO()):  # the functions' metrics
            found = both.check()
        stage.detail = f"{both.runs} runs, {len(found)} problems"
    return findings.report(found)


if __name__ == "__main__":
    cli.run("compat", main)
