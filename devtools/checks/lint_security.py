"""`make security`: checkov's rules on the template and on its SAM expansion, without a network."""

import os
import subprocess
from argparse import Namespace

from devtools import cli, target
from devtools.checks import lint_template

CHECKOV = target.ROOT / ".venv-security" / "bin" / "checkov"
CRASHED = "Failed to run check"


def main(_: Namespace) -> int:
    """Check both; return 1 on any finding. .checkov.yaml lists the skipped checks with reasons."""
    if not CHECKOV.exists():
        raise cli.UserError("checkov is not installed; run `make setup`")
    # With credentials or a platform's key in its environment, checkov would use the network.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BC_", "PRISMA_"))}
    command = [CHECKOV, "--config-file", ".checkov.yaml", "--file", target.ROOT / "template.yaml", lint_template.write_translated()]
    done = subprocess.run(command, cwd=target.ROOT, env=environment, capture_output=True, text=True, check=False)
    # A rule that crashes on a resource counts neither as passed nor as failed, and leaves checkov's exit code at 0.
    found = done.returncode != 0 or CRASHED in done.stderr
    if found:
        print(done.stdout, done.stderr, sep="\n")
    return int(found)
