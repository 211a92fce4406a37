"""`make lint-workflows`: statelint on the state machines, whose states must be reachable and transitions have targets."""

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from devtools import cli, target

# This linter rejects 2 where a float is expected, which JSON does not distinguish from 2.0.
IGNORED = "FLOAT"


def main(_: Namespace) -> int:
    """Lint every definition in workflows/; return 1 on any finding. Raises UserError without definitions."""
    linter = Path(sys.executable).parent / "statelint"
    definitions = sorted((target.ROOT / "workflows").glob("*.asl.json"))
    if not definitions:
        raise cli.UserError("workflows/ holds no *.asl.json")
    codes = [subprocess.run([linter, "--ignore", IGNORED, path], check=False).returncode for path in definitions]
    return int(any(codes))
