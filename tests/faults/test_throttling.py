"""Lambda throttles a step of the saga: it runs no function, so nothing is wrong with the order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.invariants import states
from tests.faults.paths import PATHS, Stage, begin, finish
from tests.faults.simulation import WORKFLOW
from tests.faults.test_sweep import wrong

CONFIRMED = next(path for path in PATHS if path.name == "confirmed")
# The steps before the confirmation; after all retries of another step, the order is compensated in any case.
STEPS = {"Reserve": "InventoryReserve", "Screen": "FraudScreen", "Authorize": "PaymentsAuthorize", "Confirm": "OrdersConfirm"}


@pytest.mark.parametrize("function", STEPS.values())
def test_throttled_order_waits_for_recovery(stage: Stage, function: str) -> None:
    simulation = stage.simulation(CONFIRMED)
    simulation.throttled.add(function)
    begin(simulation, CONFIRMED)
    assert simulation.failed == ["StepNotRun"]
    assert states(simulation) == {"placed": 1}
    simulation.throttled.clear()
    finish(simulation, CONFIRMED)
    assert wrong(simulation, CONFIRMED, ends={"confirmed"}) == []


@pytest.mark.parametrize("step", STEPS)
def test_throttled_step_is_retried_for_a_minute(step: str) -> None:
    """Error names: https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html."""
    throttled, faulted = WORKFLOW.states[step]["Retry"]
    assert "Lambda.TooManyRequestsException" in throttled["ErrorEquals"]
    assert faulted["ErrorEquals"] == ["States.ALL"]
    assert _longest_seconds(throttled) > 60 > _longest_seconds(faulted)


def _longest_seconds(retrier: dict[str, Any]) -> float:
    waits = (retrier["IntervalSeconds"] * retrier["BackoffRate"] ** attempt for attempt in range(retrier["MaxAttempts"]))
    return sum(min(wait, retrier["MaxDelaySeconds"]) for wait in waits)
