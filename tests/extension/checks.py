"""The checks and tests that a changed clone has to pass."""

from __future__ import annotations

import subprocess

from tests.support.clone import Clone

CHECKS = ("format-check", "lint", "types", "imports", "template", "lint-workflows", "generated", "contracts-check", "cost-check")


def succeeded(result: subprocess.CompletedProcess[str]) -> str:
    """Return what a program printed; fail with the end of it where the program failed."""
    assert result.returncode == 0, f"{result.stdout[-6000:]}\n{result.stderr[-6000:]}"
    return result.stdout


def require_green(clone: Clone) -> None:
    """Run the checks, unit tests and contract tests of a clone."""
    succeeded(clone.make("-j2", *CHECKS))
    succeeded(clone.run(".venv/bin/python", "-m", "pytest", "-q", "-n", "2", "-m", "not service", "tests/unit", "tests/contract"))
