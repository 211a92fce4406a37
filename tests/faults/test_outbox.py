"""Reconciliation publishes events that the stream lost, under every fault."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from operations.handlers import publish_missing_events
from orderflow.aws import order_log_items
from tests.faults.asl import TaskFailed
from tests.faults.faults import ONCE, Disturbance, takes
from tests.faults.paths import PATHS, Path, Stage, begin, finish
from tests.faults.simulation import Simulation
from tests.faults.sweeps import assert_no_failures
from tests.faults.test_sweep import wrong

CONFIRMED = PATHS[0]
RUNS = 4


@pytest.fixture(autouse=True)
def every_order_is_sampled_and_overdue_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_log_items, "SAMPLE", 1)
    monkeypatch.setattr(publish_missing_events, "OVERDUE_AFTER", timedelta(0))


def lose_nth_event(simulation: Simulation, nth: int) -> list[int]:
    """Let the stream lose the n-th event; the returned list then has its number."""
    lost: list[int] = []
    seen = [0]
    deliver = simulation.deliver

    def thinned(batch: list[Any]) -> None:
        start, seen[0] = seen[0], seen[0] + len(batch)
        lost.extend(number for number in range(start, seen[0]) if number == nth)
        deliver([record for number, record in enumerate(batch, start) if number != nth])

    simulation.deliver = thinned
    return lost


def compare(simulation: Simulation) -> None:
    """Run the reconciliation schedule a few times, and process all consequences."""
    for _ in range(RUNS):
        with suppress(TaskFailed):
            simulation.invoke("OperationsReconcile", {})
        simulation.process_all()


def missing(simulation: Simulation) -> list[str]:
    """Return the events of the log that the stream lacks or that are still indexed as pending."""
    there = {detail["event_id"] for detail in simulation.aws.kinesis.details}
    items = simulation.aws.dynamodb.items("OrderLog")
    ids = [f"{item['order_id']['S']}:{item['version']['N']}" for item in items]
    return [f"{one} is not on the stream" for one in ids if one not in there] + [
        f"{one} is still in the outbox index" for one, item in zip(ids, items, strict=True) if "outbox" in item
    ]


def lose(stage: Stage, path: Path, nth: int, disturbance: Disturbance | None = None) -> tuple[Simulation, bool]:
    """Run a path without its n-th event, reconcile, and return whether that event exists."""
    simulation = stage.simulation(path, disturbance)
    lost = lose_nth_event(simulation, nth)
    begin(simulation, path)
    compare(simulation)
    return simulation, bool(lost)


def test_order_ends_the_same_without_any_one_stream_event(stage: Stage) -> None:
    failures: dict[str, list[str]] = {}
    number, more = 0, True
    while more:
        simulation, more = lose(stage, CONFIRMED, number)
        found = missing(simulation)
        finish(simulation, CONFIRMED)
        if found := found + wrong(simulation, CONFIRMED, ends={CONFIRMED.ends}):
            failures[f"event {number} lost"] = found
        number += 1
    assert_no_failures(failures)
    assert number > 4


def test_next_reconciliation_completes_a_failed_one(stage: Stage) -> None:
    calls, _ = lose(stage, CONFIRMED, 1)
    failures: dict[str, list[str]] = {}
    for number, call in enumerate(calls.disturbance.calls):
        noting = call.function == "OrdersPublish" and call.operation == "UpdateItem"
        for kind in (kind for kind in ONCE if takes(kind, call) and (noting or call.function == "OperationsReconcile")):
            disturbance = Disturbance(kind, match=lambda at, _call, number=number: at == number)
            simulation, _ = lose(stage, CONFIRMED, 1, disturbance)
            if found := missing(simulation):
                failures[f"{kind.name} at {call}"] = found
    assert_no_failures(failures)
