"""Sets the stage for runs under faults, and prints at the end how many there were."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import clients

if TYPE_CHECKING:
    from tests.faults.paths import Stage

RUNS = "fault runs"
type Tally = Callable[[str, str], None]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Return what makes the worlds of runs; nothing is logged and nobody waits."""
    from tests.faults.paths import Stage  # noqa: PLC0415 - imports every function, for which the environment has to be set

    logging.disable(logging.CRITICAL)
    yield Stage(monkeypatch)
    logging.disable(logging.NOTSET)
    clients.lend()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Return how to count a run of a path under a kind of fault."""
    runs = Counter[tuple[str, str]]()

    def count(path: str, kind: str) -> None:
        runs[path, kind] += 1

    yield count
    counted = [[path, kind, number] for (path, kind), number in runs.items()]
    request.node.user_properties.append((RUNS, counted))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table of runs."""
    runs = Counter[tuple[str, str]]()
    for report in (*terminalreporter.stats.get("passed", ()), *terminalreporter.stats.get("failed", ())):
        for name, counted in report.user_properties:
            for path, kind, number in counted if name == RUNS else ():
                runs[path, kind] += number
    if not runs:
        return
    paths = list(dict.fromkeys(path for path, _ in runs))
    terminalreporter.section("runs under faults")
    width = max(len(kind) for _, kind in runs)
    for number, path in enumerate(paths, start=1):
        terminalreporter.write_line(f"{number:>3}  {path}")
    terminalreporter.write_line(f"\n{'':{width}}" + "".join(f"{number:>5}" for number in range(1, len(paths) + 1)) + "    all")
    for kind in dict.fromkeys(kind for _, kind in runs):
        row = [runs[path, kind] for path in paths]
        terminalreporter.write_line(f"{kind:{width}}" + "".join(f"{n or '':>5}" for n in row) + f"{sum(row):>7}")
    terminalreporter.write_line(
        f"{'all':{width}}" + "".join(f"{sum(runs[p, k] for p, k in runs if p == path):>5}" for path in paths) + f"{sum(runs.values()):>7}"
    )
