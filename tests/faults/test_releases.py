"""A faulty release of a canary function is rolled back, and no order is lost, duplicated or rejected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from devtools.ops import check_canary
from tests.faults.canary import CANARY_MINUTES, STEPS, Canary, fails_after, fails_before
from tests.faults.conftest import Tally
from tests.faults.invariants import states, violations
from tests.faults.paths import PATHS, Path, Stage, request
from tests.faults.simulation import Handler, NeverAnswered, Simulation, TaskFailed

ORDERS_PER_MINUTE = 10
MINUTES = 8
ONE_MUG: Path = replace(PATHS[0], lines=({"sku": "MUG-BLUE", "quantity": 1},))
FAULTS: list[Callable[[Handler], Handler]] = [fails_before, fails_after]


def shop(stage: Stage, canary: Canary) -> tuple[Simulation, int]:
    """Place orders during a release; return the pipeline and the number of clients without an answer."""
    simulation = stage.simulation(ONE_MUG)
    simulation.functions = canary.functions()
    unanswered = 0
    for minute in range(MINUTES):
        for number in range(ORDERS_PER_MINUTE):
            try:
                simulation.post(request(ONE_MUG, f"customer-{minute}-{number}"))
            except NeverAnswered:
                unanswered += 1
            simulation.process_all()
        canary.end_minute()
    simulation.sweep()
    simulation.process_all()
    return simulation, unanswered


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("name", ["OrdersPlace", *STEPS])
def test_faulty_release_is_rolled_back_without_a_lost_order(
    stage: Stage, tally: Tally, name: str, fault: Callable[[Handler], Handler]
) -> None:
    canary = Canary(stage.functions, name, fault)
    simulation, unanswered = shop(stage, canary)
    tally(ONE_MUG.name, "release by canary")
    assert canary.by_new_version > 0
    assert canary.taken_back is not None
    assert canary.taken_back < CANARY_MINUTES
    assert unanswered == 0
    assert dict(states(simulation)) == {"confirmed": MINUTES * ORDERS_PER_MINUTE}
    assert violations(simulation) == []


@pytest.mark.parametrize("name", ["OrdersPlace", *STEPS])
def test_same_release_without_alarms_loses_orders(stage: Stage, name: str) -> None:
    """Shows that the rollback in the test above is needed."""
    canary = Canary(stage.functions, name, fails_before, watched=False)
    simulation, unanswered = shop(stage, canary)
    rejected = states(simulation)["rejected"]
    assert unanswered + rejected >= (MINUTES - CANARY_MINUTES) * ORDERS_PER_MINUTE


def test_good_release_is_completed(stage: Stage) -> None:
    canary = Canary(stage.functions, "OrdersPlace", lambda handler: handler)
    simulation, unanswered = shop(stage, canary)
    assert (canary.weight, canary.taken_back, unanswered) == (1.0, None, 0)
    assert canary.by_new_version > (MINUTES - CANARY_MINUTES) * ORDERS_PER_MINUTE
    assert dict(states(simulation)) == {"confirmed": MINUTES * ORDERS_PER_MINUTE}


@pytest.mark.parametrize("name", STEPS)
def test_check_of_a_new_version_is_refused_by_every_step(stage: Stage, name: str) -> None:
    event, is_right = check_canary.CHECKS[name]
    with pytest.raises(TaskFailed) as failed:
        stage.simulation(ONE_MUG).invoke(name, event())
    assert is_right({"errorType": failed.value.error})
