"""Concurrent decisions on held orders: two reviewers, the timeout, a cancellation, and duplicated messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.conftest import Tally
from tests.faults.faults import THROTTLED, Disturbance
from tests.faults.paths import PATHS, Path, Stage, begin, cancellation, decide, finish
from tests.faults.reviews import OPERATIONS
from tests.faults.sweeps import nothing_wrong
from tests.faults.test_races import Runner, alternate
from tests.faults.test_sweep import recorded, wrong
from tests.faults.world import World

HELD = next(path for path in PATHS if path.name == "held for review")
DECIDED = [path for path in PATHS if path.decided]
TOPIC = "${ReviewRequests}"


def order_of(world: World) -> str:
    return world.placed()["order_id"]


def event_of(world: World, kind: str) -> Any:
    """Return the order's event of a kind, if it is on the log already."""
    found = [item for item in world.aws.dynamodb.items("OrderLog") if item["type"]["S"] == kind]
    return json.loads(found[0]["event"]["S"]) if found else None


def held(stage: Stage) -> World:
    """Return a world in which the order is held and an execution waits for it."""
    world = stage.world(HELD)
    begin(world, HELD)
    return world


ACTS: dict[str, Callable[[World], object]] = {
    "approve": lambda world: world.reviews.decide(order_of(world), "approve", "rex"),
    "reject": lambda world: world.reviews.decide(order_of(world), "reject", "sue"),
    "expire": lambda world: world.invoke("ReviewsExpire", {"order_id": order_of(world), "correlation_id": "c", "execution": "e"}),
    "cancel": lambda world: world.cancel(cancellation(order_of(world))),
}
ENDS = {"approve": "confirmed", "reject": "rejected", "expire": "rejected", "cancel": "cancelled"}


def calls_of(stage: Stage, act: str) -> int:
    world = held(stage)
    before = len(world.disturbance.calls)
    ACTS[act](world)
    return len(world.disturbance.calls) - before


@pytest.mark.parametrize(("one", "two"), [("approve", "reject"), ("approve", "expire"), ("reject", "expire"), ("approve", "cancel")])
def test_first_of_two_concurrent_decisions_wins(stage: Stage, tally: Tally, one: str, two: str) -> None:
    failures: dict[str, list[str]] = {}
    for first_stop in range(calls_of(stage, one)):
        for second_stop in range(calls_of(stage, two)):
            world = held(stage)
            alternate(
                world, Runner(first_stop, lambda world=world: ACTS[one](world)), Runner(second_stop, lambda world=world: ACTS[two](world))
            )
            world.settle()
            finish(world, HELD)
            tally(HELD.name, "two interleaved decisions")
            found = wrong(world, HELD, ends={ENDS[one], ENDS[two]})
            found += [str(answer) for _, answer in world.reviews.answers if answer["statusCode"] not in {200, 409}]
            if {one, two} == {"approve", "reject"} and sorted(a["statusCode"] for _, a in world.reviews.answers) != [200, 409]:
                found.append(f"answers: {world.reviews.answers}")
            if found:
                failures[f"stops before {first_stop} and {second_stop}"] = found
    nothing_wrong(failures)


def test_two_agreeing_reviewers_get_the_same_answer(stage: Stage, tally: Tally) -> None:
    calls = calls_of(stage, "approve")
    for first_stop in range(calls):
        for second_stop in range(calls):
            world = held(stage)
            people = [
                Runner(stop, lambda who=who, world=world: world.reviews.decide(order_of(world), "approve", who))
                for who, stop in (("rex", first_stop), ("sue", second_stop))
            ]
            alternate(world, people[0], people[1])
            tally(HELD.name, "two interleaved decisions")
            assert len({answer["body"] for _, answer in world.reviews.answers}) == 1
            assert {answer["statusCode"] for _, answer in world.reviews.answers} == {200}


def _started_again(world: World) -> None:
    if event := event_of(world, "OrderHeldForReview"):
        world.reviews.start(event)


def _closed_again(world: World) -> None:
    if event := event_of(world, "OrderReviewApproved") or event_of(world, "OrderReviewRejected"):
        world.reviews.close(event)


AGAIN = {"review started twice": _started_again, "review closed twice": _closed_again}


@pytest.mark.parametrize("path", DECIDED, ids=lambda path: path.name.replace(" ", "-"))
@pytest.mark.parametrize("what", AGAIN)
def test_event_is_redelivered_at_any_call(stage: Stage, tally: Tally, path: Path, what: str) -> None:
    failures: dict[str, list[str]] = {}
    calls = recorded(stage, path)
    for number in range(len(calls) + 1):
        disturbance = Disturbance(match=lambda at, _call, number=number: at == number)
        world = stage.world(path, disturbance)
        disturbance.act = lambda world=world: AGAIN[what](world)
        begin(world, path)
        if number == len(calls):
            AGAIN[what](world)
        finish(world, path)
        tally(path.name, what)
        if found := wrong(world, path, ends={path.ends}):
            failures[f"before {number} {calls[number] if number < len(calls) else 'nothing more'}"] = found
    nothing_wrong(failures)


def test_a_second_execution_ends_and_leaves_the_first_alone(stage: Stage) -> None:
    world = held(stage)
    [token] = world.reviews.waiting

    _started_again(world)

    assert world.reviews.waiting == {token}
    assert len(world.aws.sns.published[TOPIC]) == 1


def test_new_execution_replaces_a_failed_one(stage: Stage) -> None:
    world = stage.world(HELD)
    world.broken.add("ReviewsWait")
    begin(world, HELD)
    assert world.failed == ["ReviewFailed"]

    finish(world, HELD)

    assert wrong(world, HELD, ends={"held"}) == []
    decide(world, order_of(world), "approve")
    assert wrong(world, HELD, ends={"confirmed"}) == []


def test_reviewers_are_notified_reminded_and_then_it_times_out(stage: Stage) -> None:
    world = held(stage)
    notified = world.aws.sns.published[TOPIC]
    assert len(notified) == 1
    assert order_of(world) in notified[0]

    world.reviews.time_out()
    assert len(notified) == 2
    assert "still" in notified[1]

    world.reviews.time_out()
    world.settle()
    assert event_of(world, "OrderReviewRejected")["data"] == {"reviewer": "", "note": "", "timed_out": True}
    assert wrong(world, HELD, ends={"rejected"}) == []


def test_review_continues_when_the_notification_fails(stage: Stage) -> None:
    world = stage.world(HELD, Disturbance(THROTTLED, match=lambda _number, call: call.operation == "Publish"))

    begin(world, HELD)

    assert world.failed == []
    assert len(world.reviews.waiting) == 1
    assert [message["step"] for message in world.aws.sqs.sent[OPERATIONS]] == ["tell"]
