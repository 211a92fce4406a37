"""The summary printed after the tests: the number of runs by fault and path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

RUNS = "fault runs"


def collected(reports: Iterable[Any]) -> Counter[tuple[str, str]]:
    """Return the number of runs by path and kind of fault, from the tests' reports."""
    runs = Counter[tuple[str, str]]()
    for report in reports:
        for path, kinds in dict(report.user_properties).get(RUNS, {}).items():
            for kind, number in kinds.items() if report.when == "call" else ():
                runs[path, kind] += number
    return runs


def table(runs: Counter[tuple[str, str]]) -> list[str]:
    """Return a table as lines: a row for each kind of fault, a column for each path."""
    paths = sorted({path for path, _ in runs})
    kinds = sorted({kind for _, kind in runs})
    width = max(map(len, kinds))
    heads = [f"{number:>3}  {path}" for number, path in enumerate(paths, start=1)]
    columns = "".join(f"{number:>6}" for number in range(1, len(paths) + 1))
    rows = [_row(kind, [runs[path, kind] for path in paths], width) for kind in kinds]
    total = _row("all", [sum(runs[path, kind] for kind in kinds) for path in paths], width)
    return [*heads, "", f"{'':{width}}{columns}     all", *rows, total]


def _row(name: str, counts: list[int], width: int) -> str:
    return f"{name:{width}}" + "".join(f"{count or '':>6}" for count in counts) + f"{sum(counts):>8}"
