"""`make compare`: runs a consumer's captured events on an earlier revision and on the present code, and prints the differences.

Both versions run in local processes on the in-memory AWS. At first the order log has all events and every other table is empty.
A value that differs between two runs of the same code, such as a time of posting, is no difference.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from devtools import cli
from devtools import target as targets
from tests.compare import comparison
from tests.support import findings


def main(arguments: Namespace) -> int:
    """Print the differences; return 1 if there are any."""
    events = comparison.read(Path(arguments.events)) if arguments.events else comparison.captured(targets.chosen(arguments.stack))
    return findings.report(comparison.compare(arguments.function, arguments.base, events))


if __name__ == "__main__":
    cli.run("compare", main)
