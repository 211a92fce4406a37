"""`POST /orders/{order_id}/cancellation`: what has not left is cancelled, once, by its owner."""

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
from tests.unit.orders.conftest import Post, opened, order_id

if TYPE_CHECKING:
    from tests.fakes.aws.environment import Aws

ORDER = order_id("sample-order-1")
# What the API answers for an order in a state, and the state that it then shows or the reason why not.
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


def ask(context: Any, body: Any = None, **how: Any) -> dict[str, Any]:
    return opened(cancel_order.handler(request(body, **how), context))


@pytest.fixture
def log(aws: Aws) -> OrderLog:
    return OrderLog("OrderLog", aws.dynamodb.client)


@pytest.fixture
def placed(post: Post, log: OrderLog) -> Any:
    """Place an order, and return how to give it commands."""
    post(key="sample-order-1")

    def go_on(*commands: Command) -> None:
        order = log.load(ORDER)
        for command in commands:
            order = log.record(order, command, source="tests").order

    return go_on


@pytest.mark.parametrize("state", ANSWERS)
def test_every_state_has_its_answer(placed: Any, log: OrderLog, context: Any, state: str) -> None:
    placed(*orders.STATES[state][1:])
    status, reported = ANSWERS[state]
    before = log.load(ORDER).version

    answers = [ask(context, {"reason": "changed my mind"}) for _ in range(2)]

    assert answers[0] == answers[1]
    assert answers[0]["statusCode"] == status
    if status == 202:
        assert answers[0]["body"]["state"] == reported
    else:
        assert answers[0]["body"]["type"] == "urn:order-pipeline:problem:not-cancellable"
        assert reported in answers[0]["body"]["detail"]
    asked = isinstance(log.history(ORDER)[-1].data, events.CancellationRequested)
    assert log.load(ORDER).version == before + (asked and log.history(ORDER)[-1].order_version > before)


@pytest.mark.parametrize("state", [state for state in orders.STATES if state != "new"])
def test_no_state_is_a_fault(placed: Any, context: Any, state: str) -> None:
    placed(*orders.STATES[state][1:])
    assert ask(context)["statusCode"] in {202, 409}


@pytest.mark.parametrize(("body", "reason"), [(None, ""), ("", ""), ({}, ""), ({"reason": "too late 👋"}, "too late 👋")])
def test_the_reason_goes_into_the_event(placed: Any, log: OrderLog, context: Any, body: Any, reason: str) -> None:
    assert ask(context, body)["statusCode"] == 202
    event = log.history(ORDER)[-1]
    assert event.data == events.CancellationRequested("customer", reason)
    assert event.source == "orders"


@pytest.mark.parametrize("state", ["placed", "held", "confirmed"])
def test_it_takes_one_read_and_one_write(placed: Any, aws: Aws, context: Any, state: str) -> None:
    placed(*orders.STATES[state][1:])
    aws.dynamodb.calls.clear()
    ask(context)
    assert dict(aws.dynamodb.calls) == {"Query": 1, "PutItem" if state == "placed" else "TransactWriteItems": 1}


@pytest.mark.parametrize("state", ["held", "confirmed"])
def test_the_sweeper_looks_after_it_from_then_on(placed: Any, aws: Aws, context: Any, state: str) -> None:
    placed(*orders.STATES[state][1:])
    ask(context)
    first = next(item for item in aws.dynamodb.items("OrderLog") if item["version"]["N"] == "1")
    assert first["open_shard"]["S"].isdigit()


@pytest.mark.parametrize("body", ["{", '{"reason": "\ud800"}', "\x00", '{"reason": "a', "reason=too+late"])
def test_malformed_json_is_refused(placed: Any, log: OrderLog, context: Any, body: str) -> None:
    answer = ask(context, body)
    assert (answer["statusCode"], answer["body"]["type"]) == (400, "urn:order-pipeline:problem:malformed-json")
    assert log.load(ORDER).state == "placed"


@pytest.mark.parametrize(
    "body", [[], "null", "1", {"reason": 1}, {"reason": None}, {"reason": "x" * (MAX_REASON_LENGTH + 1)}, {"by": "eve"}]
)
def test_response_of_another_shape_is_refused(placed: Any, log: OrderLog, context: Any, body: Any) -> None:
    answer = ask(context, body)
    assert (answer["statusCode"], answer["body"]["type"]) == (422, "urn:order-pipeline:problem:invalid-request")
    assert log.load(ORDER).state == "placed"


def test_longest_reason_is_accepted_and_larger_body_refused(placed: Any, context: Any) -> None:
    assert ask(context, " " * (MAX_BODY_BYTES + 1))["statusCode"] == 413
    assert ask(context, {"reason": "ö" * MAX_REASON_LENGTH})["statusCode"] == 202


def test_order_of_another_customer_cannot_be_cancelled(placed: Any, log: OrderLog, context: Any) -> None:
    for body in (None, {"reason": "mine now"}, "{"):
        others, none = ask(context, body, customer="eve"), ask(context, body, order=order_id("nothing"))
        assert others == none
        assert none["statusCode"] == 404
    assert log.load(ORDER).state == "placed"


def test_a_confirmation_that_was_faster_is_cancelled_all_the_same(placed: Any, log: OrderLog, aws: Aws, context: Any) -> None:
    """The log decides which came first; whoever comes second sees it."""
    placed(*orders.AUTHORIZED[1:])

    def meanwhile(operation: str, _: Any) -> None:
        if operation == "PutItem":
            aws.dynamodb.before = None
            placed(orders.CONFIRM)

    aws.dynamodb.before = meanwhile
    assert ask(context)["body"]["state"] == "cancelling"
    assert [event.type for event in log.history(ORDER)][-2:] == ["OrderConfirmed", "CancellationRequested"]


def test_request_with_lost_answer_is_answered_on_retry(placed: Any, log: OrderLog, aws: Aws, context: Any) -> None:
    def lose(operation: str, _: Any) -> None:
        if operation == "PutItem":
            aws.dynamodb.after = None
            raise answer_lost()

    aws.dynamodb.after = lose
    assert ask(context)["statusCode"] == 500
    assert ask(context)["statusCode"] == 202
    assert [event.type for event in log.history(ORDER)] == ["OrderPlaced", "CancellationRequested"]


def test_crashed_process_leaves_no_partial_state(placed: Any, log: OrderLog, aws: Aws, context: Any) -> None:
    aws.dynamodb.before = crash_at("PutItem")
    with pytest.raises(Crash):
        ask(context)
    aws.dynamodb.before = None
    assert ask(context)["statusCode"] == 202
    assert [event.type for event in log.history(ORDER)] == ["OrderPlaced", "CancellationRequested"]


@pytest.mark.parametrize("name", samples.names("orders/cancel_order"))
def test_samples_have_their_answers(name: str, aws: Aws, log: OrderLog, context: Any) -> None:
    event = samples.sample(name)
    prepare(log, event["pathParameters"]["order_id"])
    assert samples.agrees(cancel_order.handler(event, context), samples.expected(name))
