"""`python -m devtools.checks.lint_workflows`: state machines in which every transition leads somewhere and every state is reached."""

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from devtools import cli, target

# JSON knows no difference between 2 and 2.0, this linter does.
IGNORED = "FLOAT"


def main(_: Namespace) -> int:
    """Lint every definition in workflows/; return 1 when any has a finding. UserError when there is none to lint."""
    linter = Path(sys.executable).parent / "statelint"
    definitions = sorted((target.ROOT / "workflows").glob("*.asl.json"))
    if not definitions:
        raise cli.UserError("workflows/ holds no *.asl.json")
    codes = [subprocess.run([linter, "--ignore", IGNORED, path], check=False).returncode for path in definitions]
    return int(any(codes))
