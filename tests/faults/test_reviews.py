"""Concurrent decisions on held orders: two reviewers, the timeout, a cancellation, and duplicated messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.conftest import Tally
from tests.faults.faults import THROTTLED, Disturbance
from tests.faults.paths import PATHS, Path, Stage, begin, cancellation, finish
from tests.faults.reviews import OPERATIONS, decide
from tests.faults.simulation import Simulation
from tests.faults.sweeps import assert_no_failures
from tests.faults.test_races import Runner, alternate
from tests.faults.test_sweep import recorded, wrong

HELD = next(path for path in PATHS if path.name == "held for review")
DECIDED = [path for path in PATHS if path.decided]
TOPIC = "${ReviewRequests}"


def order_of(simulation: Simulation) -> str:
    return simulation.placed()["order_id"]


def event_of(simulation: Simulation, kind: str) -> Any:
    """Return the order's event of a type, if the log has it."""
    found = [item for item in simulation.aws.dynamodb.items("OrderLog") if item["type"]["S"] == kind]
    return json.loads(found[0]["event"]["S"]) if found else None


def held(stage: Stage) -> Simulation:
    """Return a simulation with a held order and an execution that waits for its decision."""
    simulation = stage.simulation(HELD)
    begin(simulation, HELD)
    return simulation


ACTS: dict[str, Callable[[Simulation], object]] = {
    "approve": lambda simulation: simulation.reviews.decide(order_of(simulation), "approve", "rex"),
    "reject": lambda simulation: simulation.reviews.decide(order_of(simulation), "reject", "sue"),
    "expire": lambda simulation: simulation.invoke(
        "ReviewsExpire", {"order_id": order_of(simulation), "correlation_id": "c", "execution": "e"}
    ),
    "cancel": lambda simulation: simulation.cancel(cancellation(order_of(simulation))),
}
ENDS = {"approve": "confirmed", "reject": "rejected", "expire": "rejected", "cancel": "cancelled"}


def calls_of(stage: Stage, act: str) -> int:
    simulation = held(stage)
    before = len(simulation.disturbance.calls)
    ACTS[act](simulation)
    return len(simulation.disturbance.calls) - before


@pytest.mark.parametrize(("one", "two"), [("approve", "reject"), ("approve", "expire"), ("reject", "expire"), ("approve", "cancel")])
def test_first_of_two_concurrent_decisions_wins(stage: Stage, tally: Tally, one: str, two: str) -> None:
    failures: dict[str, list[str]] = {}
    for first_stop in range(calls_of(stage, one)):
        for second_stop in range(calls_of(stage, two)):
            simulation = held(stage)
            alternate(
                simulation,
                Runner(first_stop, lambda simulation=simulation: ACTS[one](simulation)),
                Runner(second_stop, lambda simulation=simulation: ACTS[two](simulation)),
            )
            simulation.process_all()
            finish(simulation, HELD)
            tally(HELD.name, "two interleaved decisions")
            found = wrong(simulation, HELD, ends={ENDS[one], ENDS[two]})
            found += [str(answer) for _, answer in simulation.reviews.answers if answer["statusCode"] not in {200, 409}]
            if {one, two} == {"approve", "reject"} and sorted(a["statusCode"] for _, a in simulation.reviews.answers) != [200, 409]:
                found.append(f"answers: {simulation.reviews.answers}")
            if found:
                failures[f"stops before {first_stop} and {second_stop}"] = found
    assert_no_failures(failures)


def test_two_agreeing_reviewers_get_the_same_answer(stage: Stage, tally: Tally) -> None:
    calls = calls_of(stage, "approve")
    for first_stop in range(calls):
        for second_stop in range(calls):
            simulation = held(stage)
            people = [
                Runner(
                    stop,
                    lambda reviewer=reviewer, simulation=simulation: simulation.reviews.decide(order_of(simulation), "approve", reviewer),
                )
                for reviewer, stop in (("rex", first_stop), ("sue", second_stop))
            ]
            alternate(simulation, people[0], people[1])
            tally(HELD.name, "two interleaved decisions")
            assert len({answer["body"] for _, answer in simulation.reviews.answers}) == 1
            assert {answer["statusCode"] for _, answer in simulation.reviews.answers} == {200}


def _started_again(simulation: Simulation) -> None:
    if event := event_of(simulation, "OrderHeldForReview"):
        simulation.reviews.start(event)


def _closed_again(simulation: Simulation) -> None:
    if event := event_of(simulation, "OrderReviewApproved") or event_of(simulation, "OrderReviewRejected"):
        simulation.reviews.close(event)


AGAIN = {"review started twice": _started_again, "review closed twice": _closed_again}


@pytest.mark.parametrize("path", DECIDED, ids=lambda path: path.name.replace(" ", "-"))
@pytest.mark.parametrize("what", AGAIN)
def test_event_is_redelivered_at_any_call(stage: Stage, tally: Tally, path: Path, what: str) -> None:
    failures: dict[str, list[str]] = {}
    calls = recorded(stage, path)
    for number in range(len(calls) + 1):
        disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
        simulation = stage.simulation(path, disturbance)
        disturbance.act = lambda simulation=simulation: AGAIN[what](simulation)
        begin(simulation, path)
        if number == len(calls):
            AGAIN[what](simulation)
        finish(simulation, path)
        tally(path.name, what)
        if found := wrong(simulation, path, ends={path.ends}):
            failures[f"before {number} {calls[number] if number < len(calls) else 'the end'}"] = found
    assert_no_failures(failures)


def test_second_execution_ends_without_affecting_the_first(stage: Stage) -> None:
    simulation = held(stage)
    [token] = simulation.reviews.waiting

    _started_again(simulation)

    assert simulation.reviews.waiting == {token}
    assert len(simulation.aws.sns.published[TOPIC]) == 1


def test_new_execution_replaces_a_failed_one(stage: Stage) -> None:
    simulation = stage.simulation(HELD)
    simulation.broken.add("ReviewsWait")
    begin(simulation, HELD)
    assert simulation.failed == ["ReviewFailed"]

    finish(simulation, HELD)

    assert wrong(simulation, HELD, ends={"held"}) == []
    decide(simulation, order_of(simulation), "approve")
    assert wrong(simulation, HELD, ends={"confirmed"}) == []


def test_reviewers_are_notified_and_reminded_before_the_timeout(stage: Stage) -> None:
    simulation = held(stage)
    notified = simulation.aws.sns.published[TOPIC]
    assert len(notified) == 1
    assert order_of(simulation) in notified[0]

    simulation.reviews.time_out()
    assert len(notified) == 2
    assert "still" in notified[1]

    simulation.reviews.time_out()
    simulation.process_all()
    assert event_of(simulation, "OrderReviewRejected")["data"] == {"reviewer": "", "note": "", "timed_out": True}
    assert wrong(simulation, HELD, ends={"rejected"}) == []


def test_review_continues_when_the_notification_fails(stage: Stage) -> None:
    simulation = stage.simulation(HELD, Disturbance(THROTTLED, match=lambda _number, call: call.operation == "Publish"))

    begin(simulation, HELD)

    assert simulation.failed == []
    assert len(simulation.reviews.waiting) == 1
    assert [message["step"] for message in simulation.aws.sqs.sent[OPERATIONS]] == ["notify"]
