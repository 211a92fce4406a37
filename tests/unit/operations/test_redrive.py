"""Redrive moves messages to their consumers; messages that it cannot move remain in the dead-letter queue."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from operations.dead_letters import InvalidRequest
from operations.handlers import redrive
from tests.fakes.aws import clients
from tests.fakes.aws.dynamodb import Crash, server_error, throttled
from tests.support.messaging import Messaging

EVENTS = Path(__file__).resolve().parents[3] / "events" / "operations" / "redrive"
SAMPLES = sorted(path.stem for path in EVENTS.glob("*.json") if not path.stem.endswith(".answer"))
MAIL = redrive.ROUTES["mail"]
# Attributes that EventBridge adds to a dead letter.
OF_RULE = {name: {"DataType": "String", "StringValue": "x"} for name in ("RULE_ARN", "TARGET_ARN", "ERROR_CODE", "ERROR_MESSAGE")}
SAGA = redrive.ROUTES["saga"]
OPERATIONS = redrive.ROUTES["operations"]
DETAIL = {
    "event_id": "ord_1:1",
    "type": "OrderPlaced",
    "order_id": "ord_1",
    "correlation_id": "correlation-1",
    "data": {},
}
BUS_EVENT = {"version": "0", "detail-type": "OrderPlaced", "source": "orders", "detail": DETAIL}
FAILED_STEP = {
    "order_id": "ord_1",
    "correlation_id": "correlation-1",
    "event_id": "ord_1:1",
    "execution": "e",
    "step": "void",
    "error": "x",
}
IDS = {"order_id": "ord_1", "correlation_id": "correlation-1", "event_id": "ord_1:1"}


@pytest.fixture
def messaging() -> Messaging:
    services = Messaging()
    clients.lend(sqs=services, sns=services, stepfunctions=services)
    return services


@pytest.fixture
def move(messaging: Messaging, context: Any) -> Callable[..., dict[str, Any]]:
    return lambda queue, **more: redrive.handler({"queue": queue, **more}, context)


def fail_at(messaging: Messaging, operation: str, error: BaseException, *, when: str = "before", call: int = 1) -> None:
    seen: list[str] = []

    def hook(name: str, _: dict[str, Any]) -> None:
        if name == operation:
            seen.append(name)
            if len(seen) == call:
                raise error

    setattr(messaging, when, hook)


def bodies(messaging: Messaging, url: str) -> list[str]:
    return [message["Body"] for message in messaging.queues.get(url, [])]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_has_its_answer(name: str, messaging: Messaging, context: Any) -> None:
    event = json.loads((EVENTS / f"{name}.json").read_text())
    expected = json.loads((EVENTS / f"{name}.answer.json").read_text())
    if "errorType" in expected:
        with pytest.raises(Exception) as error:  # noqa: PT011 - the answer names the type
            redrive.handler(event, context)
        assert type(error.value).__name__ == expected["errorType"]
    else:
        assert redrive.handler(event, context) == expected


def test_email_is_redriven_with_attributes_and_attempt_count(messaging: Messaging, move: Callable[..., dict[str, Any]]) -> None:
    attribute = {"DataType": "String", "StringValue": "x"}
    binary = {"DataType": "Binary", "BinaryValue": b"\x00"}
    messaging.put(MAIL.queue_url, "first", attribute=attribute, binary=binary)
    messaging.put(MAIL.queue_url, "again", redrive_attempts={"DataType": "Number", "StringValue": "2"})

    assert move("mail") == {"queue": "mail", "moved": 2, "failed": 0}

    assert bodies(messaging, MAIL.queue_url) == []
    assert bodies(messaging, MAIL.target) == ["first", "again"]
    first, again = (message["MessageAttributes"] for message in messaging.queues[MAIL.target])
    assert first == {"attribute": attribute, "binary": binary, "redrive_attempts": {"DataType": "Number", "StringValue": "1"}}
    assert again == {"redrive_attempts": {"DataType": "Number", "StringValue": "3"}}


def test_dead_letter_of_the_topics_rule_is_published_to_the_topic(messaging: Messaging, move: Callable[..., dict[str, Any]]) -> None:
    messaging.put(MAIL.queue_url, BUS_EVENT, **OF_RULE)

    assert move("mail")["moved"] == 1

    (published,) = messaging.published
    assert (published["TopicArn"], json.loads(published["Message"])) == (MAIL.topic, BUS_EVENT)
    assert published["MessageAttributes"] == {"redrive_attempts": {"DataType": "Number", "StringValue": "1"}}


def test_dead_letter_of_a_queues_rule_goes_to_the_queue(messaging: Messaging, move: Callable[..., dict[str, Any]]) -> None:
    ledger = redrive.ROUTES["ledger"]
    messaging.put(ledger.queue_url, BUS_EVENT, **OF_RULE)

    assert move("ledger")["moved"] == 1

    (sent,) = messaging.queues[ledger.target]
    assert json.loads(sent["Body"]) == BUS_EVENT
    assert set(sent["MessageAttributes"]) == {"redrive_attempts"}
    assert messaging.published == []


@pytest.mark.parametrize("body", [BUS_EVENT, DETAIL])
def test_saga_of_a_stuck_placed_order_is_started(body: dict[str, Any], messaging: Messaging, move: Callable[..., dict[str, Any]]) -> None:
    messaging.put(SAGA.queue_url, body)

    assert move("saga") == {"queue": "saga", "moved": 1, "failed": 0}
    assert messaging.started == [IDS]
    assert bodies(messaging, SAGA.queue_url) == []


def test_failed_compensation_restarts_the_saga(messaging: Messaging, move: Callable[..., dict[str, Any]]) -> None:
    messaging.put(OPERATIONS.queue_url, FAILED_STEP)

    assert move("operations")["moved"] == 1
    assert messaging.started == [IDS]


def test_failed_review_restarts_the_review_workflow(messaging: Messaging, move: Callable[..., dict[str, Any]]) -> None:
    machines: list[str] = []
    messaging.before = lambda operation, given: machines.append(given["stateMachineArn"]) if operation == "StartExecution" else None
    messaging.put(OPERATIONS.queue_url, FAILED_STEP | {"workflow": "review"})
    messaging.put(OPERATIONS.queue_url, FAILED_STEP | {"workflow": "unknown"})

    assert move("operations") == {"queue": "operations", "moved": 1, "failed": 1}
    assert messaging.started == [IDS]
    assert machines == [OPERATIONS.workflows["review"]]


@pytest.mark.parametrize("body", ["", "not json", "[]", '{"order_id": "ord_1"}', '{"detail": {"order_id": 7}}'])
def test_message_without_an_order_stays_and_others_are_moved(body: str, messaging: Messaging, move: Callable[..., dict[str, Any]]) -> None:
    messaging.put(OPERATIONS.queue_url, body)
    messaging.put(OPERATIONS.queue_url, FAILED_STEP)

    assert move("operations") == {"queue": "operations", "moved": 1, "failed": 1}
    assert bodies(messaging, OPERATIONS.queue_url) == [body]


def test_at_most_the_requested_number_is_moved(messaging: Messaging, move: Callable[..., dict[str, Any]]) -> None:
    for number in range(30):
        messaging.put(MAIL.queue_url, str(number))

    assert move("mail", max=23)["moved"] == 23
    assert bodies(messaging, MAIL.queue_url) == [str(number) for number in range(23, 30)]
    assert move("mail") == {"queue": "mail", "moved": 7, "failed": 0}


@pytest.mark.parametrize(
    ("queue", "body", "attributes", "operation"),
    [("mail", "x", {}, "SendMessage"), ("mail", "x", OF_RULE, "Publish"), ("operations", FAILED_STEP, {}, "StartExecution")],
)
def test_message_that_cannot_be_moved_stays(
    queue: str, body: object, attributes: dict[str, Any], operation: str, messaging: Messaging, move: Callable[..., dict[str, Any]]
) -> None:
    route = redrive.ROUTES[queue]
    messaging.put(route.queue_url, body, **attributes)
    messaging.put(route.queue_url, body, **attributes)
    fail_at(messaging, operation, throttled(operation))

    assert move(queue) == {"queue": queue, "moved": 1, "failed": 1}
    assert len(messaging.queues[route.queue_url]) == 1


def test_undeleted_message_is_reported_as_failed(messaging: Messaging, move: Callable[..., dict[str, Any]]) -> None:
    messaging.put(MAIL.queue_url, "x")
    fail_at(messaging, "DeleteMessage", server_error("DeleteMessage"))

    assert move("mail") == {"queue": "mail", "moved": 0, "failed": 1}
    assert bodies(messaging, MAIL.queue_url) == bodies(messaging, MAIL.target) == ["x"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("operation", ["ReceiveMessage", "SendMessage", "DeleteMessage"])
def test_crashed_redrive_loses_no_message(when: str, operation: str, messaging: Messaging, move: Callable[..., dict[str, Any]]) -> None:
    messaging.put(MAIL.queue_url, "x")
    fail_at(messaging, operation, Crash(), when=when)

    with pytest.raises(Crash):
        move("mail")

    setattr(messaging, when, None)
    messaging.hidden.clear()
    move("mail")
    assert set(bodies(messaging, MAIL.target)) == {"x"}
    assert bodies(messaging, MAIL.queue_url) == []


def test_unreadable_queue_is_a_fault(messaging: Messaging, move: Callable[..., dict[str, Any]]) -> None:
    fail_at(messaging, "ReceiveMessage", throttled("ReceiveMessage"))

    with pytest.raises(ClientError):
        move("mail")


def test_redrive_ends_before_the_timeout(messaging: Messaging, context: Any) -> None:
    for number in range(25):
        messaging.put(MAIL.queue_url, str(number))
    left = iter([60_000, 40_000, 10_000])
    context.get_remaining_time_in_millis = lambda: next(left)

    assert redrive.handler({"queue": "mail"}, context) == {"queue": "mail", "moved": 20, "failed": 0}
    assert len(bodies(messaging, MAIL.queue_url)) == 5


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            {"queue": "unknown"},
            f"known are {', '.join(sorted(redrive.ROUTES))}",
        ),
        ({}, "queue"),
        ({"queue": 7}, "str"),
        ({"queue": "mail", "max": 0}, "max"),
        ({"queue": "mail", "max": 1001}, "max"),
        ({"queue": "mail", "max": "10"}, "max"),
        ({"queue": "mail", "limit": 10}, "limit"),
    ],
)
def test_malformed_request_is_refused_with_its_error(request_: dict[str, Any], message: str, messaging: Messaging, context: Any) -> None:
    with pytest.raises(InvalidRequest, match=message):
        redrive.handler(request_, context)
    assert not messaging.calls


def test_message_bodies_are_not_logged(
    messaging: Messaging, move: Callable[..., dict[str, Any]], logged: Callable[[], list[dict[str, Any]]]
) -> None:
    messaging.put(OPERATIONS.queue_url, '{"email": "ann@example.com"}')

    move("operations")

    assert "ann@example.com" not in json.dumps(logged())
    assert {line["message"] for line in logged()} == {"message_not_redriven", "done"}
