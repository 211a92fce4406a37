"""The sweep must find the mistakes of the control pipeline (naive.py)."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults import naive
from tests.faults.faults import ONCE, Disturbance, takes
from tests.faults.invariants import states, violations
from tests.faults.paths import PATHS, Path, Stage, begin, finish, request
from tests.faults.simulation import NeverAnswered, Simulation
from tests.faults.test_races import LAST_ITEM, Runner, alternate

CONFIRMED = PATHS[0]
DECLINED = next(path for path in PATHS if path.name == "declined")


@pytest.fixture
def control(stage: Stage) -> Stage:
    stage.functions = naive.FUNCTIONS
    return stage


def broken_rules(simulation: Simulation, path: Path) -> set[str]:
    """Return the violated rules after the run of a path."""
    try:
        begin(simulation, path)
        finish(simulation, path)
    except NeverAnswered:
        return {"the client gets an answer"}
    return {violation.rule for violation in violations(simulation)}


@pytest.mark.parametrize("path", [CONFIRMED, DECLINED], ids=lambda path: path.name)
def test_control_works_without_faults(control: Stage, path: Path) -> None:
    simulation = control.simulation(path)
    assert broken_rules(simulation, path) == set()
    assert dict(states(simulation)) == {path.ends: 1}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (
            CONFIRMED,
            {
                "at most one authorization, and none without an order",
                "reserved stock is that of the orders",
                "StockReserved at most once",
                "every event reaches the bus",
                "an event is never overwritten",
            },
        ),
        (DECLINED, {"reserved stock is that of the orders", "StockReleased at most once", "every event reaches the bus"}),
    ],
    ids=["confirmed", "declined"],
)
def test_sweep_finds_the_mistakes_of_the_control(control: Stage, path: Path, found: set[str]) -> None:
    simulation = control.simulation(path)
    begin(simulation, path)
    rules = Counter[str]()
    for number, call in enumerate(simulation.disturbance.calls):
        for kind in (kind for kind in ONCE if takes(kind, call)):
            disturbance = Disturbance(kind, match=lambda at, _call, number=number: at == number)
            rules.update(broken_rules(control.simulation(path, disturbance, attempts=2 if kind.retried else 1), path))
    assert found <= set(rules)


def test_second_saga_of_the_control_charges_twice(control: Stage) -> None:
    simulation = control.simulation(CONFIRMED)
    begin(simulation, CONFIRMED)
    simulation.saga(simulation.placed())
    finish(simulation, CONFIRMED)
    assert "at most one authorization, and none without an order" in {violation.rule for violation in violations(simulation)}


def test_control_sells_the_last_item_twice(control: Stage) -> None:
    path = Path("the last item", "confirmed", lines=LAST_ITEM)
    rules = Counter[str]()
    for first_stop in range(8):
        simulation = control.simulation(path)
        for customer in ("ann", "bob"):
            simulation.post(request(path, customer))
        one, two = simulation.placed(0), simulation.placed(1)
        alternate(
            simulation,
            Runner(first_stop, lambda simulation=simulation, one=one: simulation.saga(one)),
            Runner(99, lambda simulation=simulation, two=two: simulation.saga(two)),
        )
        rules.update({violation.rule for violation in violations(simulation)} | {f"{states(simulation)['confirmed']} confirmed"})
    assert {"2 confirmed", "reserved stock is that of the orders"} <= set(rules)
