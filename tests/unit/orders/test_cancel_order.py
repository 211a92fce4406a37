"""`POST /orders/{order_id}/cancellation`: the owner cancels the lines that were not dispatched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from orderflow.aws.http import MAX_BODY_BYTES
from orderflow.aws.order_log import OrderLog
from orderflow.domain import events
from orderflow.domain.commands import Command
from orders.api_models import MAX_REASON_LENGTH
from orders.handlers import cancel_order
from tests.fakes.aws.dynamodb import Crash, answer_lost, crash_at
from tests.support import orders, samples
from tests.support.prepared import prepare
from tests.unit.orders.conftest import Post, decoded, order_id

if TYPE_CHECKING:
    from tests.fakes.aws.environment import Aws

ORDER = order_id("sample-order-1")
# By state of the order: the status of the answer, and the order's new state or the reason for the refusal.
ANSWERS = {
    "placed": (202, "cancelling"),
    "reserved": (202, "cancelling"),
    "held": (202, "cancelling"),
    "review approved": (202, "cancelling"),
    "authorized": (202, "cancelling"),
    "expired": (202, "cancelling"),
    "confirmed": (202, "cancelling"),
    "shipping": (202, "cancelling"),
    "partly dispatched": (202, "cancelling"),
    "cancelling placed": (202, "cancelling"),
    "recalled": (202, "cancelling"),
    "cancelled": (202, "cancelled"),
    "rest cancelled": (202, "dispatched"),
    "failed authorized": (409, "being rejected"),
    "review rejected": (409, "being rejected"),
    "rejected": (409, "was rejected"),
    "cancellation failed": (409, "everything of this order was dispatched"),
    "dispatched": (409, "everything of this order was dispatched"),
    "delivered": (409, "was delivered"),
    "all lost": (409, "was lost"),
    "partly returned": (409, "was delivered"),
}


def request(body: Any = None, *, customer: str = "ann", order: str = ORDER) -> Any:
    event = samples.sample("orders/cancel_order/placed")
    event["pathParameters"]["order_id"] = order
    event["requestContext"]["authorizer"] |= {"customer_id": customer}
    event["body"] = body if body is None or isinstance(body, str) else json.dumps(body)
    return event


def cancel(context: Any, body: Any = None, **details: Any) -> dict[str, Any]:
    return decoded(cancel_order.handler(request(body, **details), context))


@pytest.fixture
def log(aws: Aws) -> OrderLog:
    return OrderLog("OrderLog", aws.dynamodb.client)


@pytest.fixture
def placed(post: Post, log: OrderLog) -> Any:
    """Place an order and return a function that applies commands to it."""
    post(key="sample-order-1")

    def apply(*commands: Command) -> None:
        order = log.load(ORDER)
        for command in commands:
            order = log.record(order, command, source="tests").order

    return apply


@pytest.mark.parametrize("state", ANSWERS)
def test_every_state_has_its_answer(placed: Any, log: OrderLog, context: Any, state: str) -> None:
    placed(*orders.STATES[state][1:])
    status, reported = ANSWERS[state]
    before = log.load(ORDER).version

    answers = [cancel(context, {"reason": "changed my mind"}) for _ in range(2)]

    assert answers[0] == answers[1]
    assert answers[0]["statusCode"] == status
    if status == 202:
        assert answers[0]["body"]["state"] == reported
    else:
        assert answers[0]["body"]["type"] == "urn:order-pipeline:problem:not-cancellable"
        assert reported in answers[0]["body"]["detail"]
    requested = isinstance(log.history(ORDER)[-1].data, events.CancellationRequested)
    assert log.load(ORDER).version == before + (requested and log.history(ORDER)[-1].order_version > before)


@pytest.mark.parametrize("state", [state for state in orders.STATES if state != "new"])
def test_no_state_is_a_fault(placed: Any, context: Any, state: str) -> None:
    placed(*orders.STATES[state][1:])
    assert cancel(context)["statusCode"] in {202, 409}


@pytest.mark.parametrize(("body", "reason"), [(None, ""), ("", ""), ({}, ""), ({"reason": "too late 👋"}, "too late 👋")])
def test_event_has_the_reason(placed: Any, log: OrderLog, context: Any, body: Any, reason: str) -> None:
    assert cancel(context, body)["statusCode"] == 202
    event = log.history(ORDER)[-1]
    assert event.data == events.CancellationRequested("customer", reason)
    assert event.source == "orders"


@pytest.mark.parametrize("state", ["placed", "held", "confirmed"])
def test_cancellation_takes_one_read_and_one_write(placed: Any, aws: Aws, context: Any, state: str) -> None:
    placed(*orders.STATES[state][1:])
    aws.dynamodb.calls.clear()
    cancel(context)
    assert dict(aws.dynamodb.calls) == {"Query": 1, "PutItem" if state == "placed" else "TransactWriteItems": 1}


@pytest.mark.parametrize("state", ["held", "confirmed"])
def test_cancelled_order_is_on_the_active_order_index(placed: Any, aws: Aws, context: Any, state: str) -> None:
    placed(*orders.STATES[state][1:])
    cancel(context)
    first = next(item for item in aws.dynamodb.items("OrderLog") if item["version"]["N"] == "1")
    assert first["open_shard"]["S"].isdigit()


@pytest.mark.parametrize("body", ["{", '{"reason": "\ud800"}', "\x00", '{"reason": "a', "reason=too+late"])
def test_malformed_json_is_refused(placed: Any, log: OrderLog, context: Any, body: str) -> None:
    answer = cancel(context, body)
    assert (answer["statusCode"], answer["body"]["type"]) == (400, "urn:order-pipeline:problem:malformed-json")
    assert log.load(ORDER).state == "placed"


@pytest.mark.parametrize(
    "body", [[], "null", "1", {"reason": 1}, {"reason": None}, {"reason": "x" * (MAX_REASON_LENGTH + 1)}, {"by": "eve"}]
)
def test_body_of_another_shape_is_refused(placed: Any, log: OrderLog, context: Any, body: Any) -> None:
    answer = cancel(context, body)
    assert (answer["statusCode"], answer["body"]["type"]) == (422, "urn:order-pipeline:problem:invalid-request")
    assert log.load(ORDER).state == "placed"


def test_longest_reason_is_accepted_and_larger_body_refused(placed: Any, context: Any) -> None:
    assert cancel(context, " " * (MAX_BODY_BYTES + 1))["statusCode"] == 413
    assert cancel(context, {"reason": "ö" * MAX_REASON_LENGTH})["statusCode"] == 202


def test_order_of_another_customer_cannot_be_cancelled(placed: Any, log: OrderLog, context: Any) -> None:
    for body in (None, {"reason": "mine now"}, "{"):
        others, unknown = cancel(context, body, customer="eve"), cancel(context, body, order=order_id("nothing"))
        assert others == unknown
        assert unknown["statusCode"] == 404
    assert log.load(ORDER).state == "placed"


def test_order_confirmed_during_the_request_is_cancelled(placed: Any, log: OrderLog, aws: Aws, context: Any) -> None:
    """The second writer gets a conflict and decides again."""
    placed(*orders.AUTHORIZED[1:])

    def confirm_first(operation: str, _: Any) -> None:
        if operation == "PutItem":
            aws.dynamodb.before = None
            placed(orders.CONFIRM)

    aws.dynamodb.before = confirm_first
    assert cancel(context)["body"]["state"] == "cancelling"
    assert [event.type for event in log.history(ORDER)][-2:] == ["OrderConfirmed", "CancellationRequested"]


def test_request_with_lost_answer_is_answered_on_retry(placed: Any, log: OrderLog, aws: Aws, context: Any) -> None:
    def lose(operation: str, _: Any) -> None:
        if operation == "PutItem":
            aws.dynamodb.after = None
            raise answer_lost()

    aws.dynamodb.after = lose
    assert cancel(context)["statusCode"] == 503
    assert cancel(context)["statusCode"] == 202
    assert [event.type for event in log.history(ORDER)] == ["OrderPlaced", "CancellationRequested"]


def test_crashed_process_leaves_no_partial_state(placed: Any, log: OrderLog, aws: Aws, context: Any) -> None:
    aws.dynamodb.before = crash_at("PutItem")
    with pytest.raises(Crash):
        cancel(context)
    aws.dynamodb.before = None
    assert cancel(context)["statusCode"] == 202
    assert [event.type for event in log.history(ORDER)] == ["OrderPlaced", "CancellationRequested"]


@pytest.mark.parametrize("name", samples.names("orders/cancel_order"))
def test_samples_have_their_answers(name: str, aws: Aws, log: OrderLog, context: Any) -> None:
    event = samples.sample(name)
    prepare(log, event["pathParameters"]["order_id"])
    assert samples.agrees(cancel_order.handler(event, context), samples.expected(name))
