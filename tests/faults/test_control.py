"""The sweep is worth something only if it finds the mistakes of the pipeline that makes them all."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults import naive
from tests.faults.faults import ONCE, Disturbance, takes
from tests.faults.invariants import states, violations
from tests.faults.paths import PATHS, Path, Stage, begin, finish, request
from tests.faults.test_races import LAST_ITEM, Runner, alternate
from tests.faults.world import NeverAnswered, World

CONFIRMED = PATHS[0]
DECLINED = next(path for path in PATHS if path.name == "declined")


@pytest.fixture
def control(stage: Stage) -> Stage:
    stage.functions = naive.FUNCTIONS
    return stage


def broken_rules(world: World, path: Path) -> set[str]:
    """Return what is wrong after the run of a path."""
    try:
        begin(world, path)
        finish(world, path)
    except NeverAnswered:
        return {"the client has an answer"}
    return {violation.rule for violation in violations(world)}


@pytest.mark.parametrize("path", [CONFIRMED, DECLINED], ids=lambda path: path.name)
def test_the_control_works_as_long_as_nothing_goes_wrong(control: Stage, path: Path) -> None:
    world = control.world(path)
    assert broken_rules(world, path) == set()
    assert dict(states(world)) == {path.ends: 1}


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
def test_the_sweep_finds_its_mistakes(control: Stage, path: Path, found: set[str]) -> None:
    world = control.world(path)
    begin(world, path)
    rules = Counter[str]()
    for number, call in enumerate(world.disturbance.calls):
        for kind in (kind for kind in ONCE if takes(kind, call)):
            disturbance = Disturbance(kind, match=lambda at, _call, number=number: at == number)
            rules.update(broken_rules(control.world(path, disturbance, attempts=2 if kind.retried else 1), path))
    assert found <= set(rules)


def test_a_second_saga_is_found_to_charge_twice(control: Stage) -> None:
    world = control.world(CONFIRMED)
    begin(world, CONFIRMED)
    world.saga(world.placed())
    finish(world, CONFIRMED)
    assert "at most one authorization, and none without an order" in {violation.rule for violation in violations(world)}


def test_two_customers_are_found_to_buy_the_last_item_both(control: Stage) -> None:
    path = Path("the last item", "confirmed", lines=LAST_ITEM)
    rules = Counter[str]()
    for first_stop in range(8):
        world = control.world(path)
        for customer in ("ann", "bob"):
            world.post(request(path, customer))
        one, two = world.placed(0), world.placed(1)
        alternate(
            world,
            Runner(first_stop, lambda world=world, one=one: world.saga(one)),
            Runner(99, lambda world=world, two=two: world.saga(two)),
        )
        rules.update({violation.rule for violation in violations(world)} | {f"{states(world)['confirmed']} confirmed"})
    assert {"2 confirmed", "reserved stock is that of the orders"} <= set(rules)
