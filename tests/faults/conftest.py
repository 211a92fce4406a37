"""Fixtures for runs under faults and their count."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.fakes.aws import clients
from tests.support.report import RUNS

if TYPE_CHECKING:
    from tests.faults.paths import Stage

type Tally = Callable[[str, str], None]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Yield the factory of simulated pipelines, without logging and pauses."""
    from tests.faults.paths import Stage  # noqa: PLC0415 - imports every function, which needs the environment

    logging.disable(logging.CRITICAL)
    yield Stage(monkeypatch)
    logging.disable(logging.NOTSET)
    clients.lend()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Return a function that counts a run of a path under a kind of fault; `tests/conftest.py` prints the table."""
    runs: dict[str, dict[str, int]] = {}
    request.node.user_properties.append((RUNS, runs))

    def count(path: str, kind: str) -> None:
        of_path = runs.setdefault(path, {})
        of_path[kind] = of_path.get(kind, 0) + 1

    return count
