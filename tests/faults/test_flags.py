"""Faults of AppConfig during an order, and flags that change between attempts at a step."""

from __future__ import annotations

import pytest

from fraud.domain import fraud_rules
from fraud.handlers import screen_order
from orderflow.aws.flags import Flags
from orderflow.aws.order_log import OrderLog
from tests.faults.conftest import Tally
from tests.faults.faults import CRASH_AFTER, LASTING, ONCE, Call, Disturbance, Match, takes
from tests.faults.paths import PATHS, Path, Stage, begin, finish
from tests.faults.simulation import Simulation
from tests.faults.test_sweep import assert_no_failures, wrong

APPCONFIG = "appconfigdata"
READ = [path for path in PATHS if path.name in {"confirmed", "held for review"}]
CONFIRMED = next(path for path in PATHS if path.name == "confirmed")


def uncached_flags(path: Path) -> Flags[fraud_rules.FraudFlags]:
    """Return the empty flags cache of a new process."""
    return Flags(fraud_rules.parse_flags, fraud_rules.FraudFlags(fraud=path.rules))


def cold_simulation(stage: Stage, path: Path, disturbance: Disturbance) -> Simulation:
    """Return a simulation whose screening step has no cached flags, with the disturbance at AppConfig."""
    simulation = stage.simulation(path, disturbance)
    simulation.aws.appconfigdata.before, simulation.aws.appconfigdata.after = simulation.hooks(APPCONFIG)
    stage.patch.setattr(screen_order, "FLAGS", uncached_flags(path))
    return simulation


@pytest.mark.parametrize("path", READ, ids=lambda path: path.name.replace(" ", "-"))
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
def test_order_uses_default_flags_while_appconfig_fails(stage: Stage, tally: Tally, path: Path, *, lasting: bool) -> None:
    calls = ("StartConfigurationSession", "GetLatestConfiguration")
    failures: dict[str, list[str]] = {}
    for operation in calls:
        call = Call("FraudScreen", APPCONFIG, operation)
        for kind in LASTING if lasting else [kind for kind in ONCE if takes(kind, call) and not kind.retried]:
            disturbance = Disturbance(kind, match=_calls_of(operation, 10 if lasting else 1))
            simulation = cold_simulation(stage, path, disturbance)
            begin(simulation, path)
            finish(simulation, path)
            tally(path.name, f"AppConfig, {'lasting ' * lasting}{kind.name}")
            # A process that crashes at every call cannot screen, so the order fails consistently.
            ends = {path.ends, "rejected"} if lasting and "crash" in kind.name else {path.ends}
            if found := wrong(simulation, path, ends=ends) + ([] if disturbance.hits else ["the fault never occurred"]):
                failures[f"{operation}, {kind.name}"] = found
    assert_no_failures(failures)


def _calls_of(operation: str, times: int) -> Match:
    """Match the first calls of an operation; `match` runs before and after each call."""
    seen: list[int] = []

    def match(number: int, call: Call) -> bool:
        if (call.service, call.operation) == (APPCONFIG, operation) and number not in seen:
            seen.append(number)
        return number in seen[:times]

    return match


@pytest.mark.parametrize(("number", "decided"), [(1, "held"), (2, "held"), (3, "held"), (4, "confirmed")])
def test_flags_changed_between_attempts_do_not_change_a_decision(stage: Stage, tally: Tally, number: int, decided: str) -> None:
    """The process crashes after a DynamoDB call and the flags then hold every order; the recorded decision remains."""
    made: list[int] = []

    def change(at: int, call: Call) -> bool:
        if (call.function, call.service) == ("FraudScreen", "dynamodb") and at not in made:
            made.append(at)
        if made[number - 1 : number] != [at]:
            return False
        simulation.aws.appconfigdata.deploy(hold_every_order=True)
        stage.patch.setattr(screen_order, "FLAGS", uncached_flags(CONFIRMED))
        return True

    disturbance = Disturbance(CRASH_AFTER, match=change)
    simulation = cold_simulation(stage, CONFIRMED, disturbance)
    order_id = begin(simulation, CONFIRMED)
    finish(simulation, CONFIRMED)
    tally(CONFIRMED.name, "flags change")

    history = OrderLog("OrderLog", simulation.aws.dynamodb.client).history(order_id)
    assert wrong(simulation, CONFIRMED, ends={decided}) == []
    assert disturbance.hits == 1
    assert len([event for event in history if event.type in {"OrderScreened", "OrderHeldForReview"}]) == 1
