"""Confirm, fail and close: what each answers for an order in every state, and what it adds to the log."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from orderflow import events
from orderflow.commands import Command
from orderflow.log import OrderLog, OrderNotFound
from orderflow.money import Money
from orders import close, confirm, fail
from tests.support import orders, samples
from tests.support.prepared import prepare

if TYPE_CHECKING:
    from tests.support.aws import Aws

STEP: Any = {"order_id": orders.ORDER_ID, "correlation_id": orders.CORRELATION_ID, "execution": "arn:1"}
HANDLERS: dict[str, Any] = {"confirm": confirm.handler, "fail": fail.handler, "close": close.handler}
FAULT = "RuntimeError"

# What each step answers for an order in a state, and which event it adds; a fault is for the saga to retry.
OUTCOMES: dict[str, dict[str, tuple[str, str | None]]] = {
    "placed": {"confirm": ("unreserved", None), "fail": ("failing", "FulfilmentFailed"), "close": (FAULT, None)},
    "reserved": {"confirm": (FAULT, None), "fail": ("failing", "FulfilmentFailed"), "close": (FAULT, None)},
    "screened": {"confirm": (FAULT, None), "fail": ("failing", "FulfilmentFailed"), "close": (FAULT, None)},
    "held": {"confirm": ("held", None), "fail": ("ended", None), "close": (FAULT, None)},
    "authorized": {"confirm": ("confirmed", "OrderConfirmed"), "fail": ("failing", "FulfilmentFailed"), "close": (FAULT, None)},
    "confirmed": {"confirm": ("confirmed", None), "fail": ("ended", None), "close": ("ended", None)},
    "short": {"confirm": ("failing", None), "fail": ("failing", None), "close": ("rejected", "OrderRejected")},
    "declined": {"confirm": ("failing", None), "fail": ("failing", None), "close": (FAULT, None)},
    "failed authorized": {"confirm": ("failing", None), "fail": ("failing", None), "close": (FAULT, None)},
    "voided": {"confirm": ("failing", None), "fail": ("failing", None), "close": (FAULT, None)},
    "released": {"confirm": ("failing", None), "fail": ("failing", None), "close": ("rejected", "OrderRejected")},
    "cancelling authorized": {"confirm": ("cancelling", None), "fail": ("cancelling", None), "close": (FAULT, None)},
    "cancelling placed": {"confirm": ("cancelling", None), "fail": ("cancelling", None), "close": ("cancelled", "OrderCancelled")},
    "cancelled": {"confirm": ("ended", None), "fail": ("ended", None), "close": ("cancelled", None)},
    "cancelling shipping": {"confirm": ("cancelling", None), "fail": ("cancelling", None), "close": (FAULT, None)},
    "recalled": {"confirm": ("cancelling", None), "fail": ("cancelling", None), "close": (FAULT, None)},
    "cancelling the rest": {"confirm": ("cancelling", None), "fail": ("cancelling", None), "close": (FAULT, None)},
    "rest cancelled": {"confirm": ("confirmed", None), "fail": ("ended", None), "close": ("ended", None)},
    "cancellation failed": {"confirm": ("confirmed", None), "fail": ("ended", None), "close": ("ended", None)},
    "turned down": {"confirm": ("failing", None), "fail": ("failing", None), "close": (FAULT, None)},
    "expired": {"confirm": ("unreserved", None), "fail": ("failing", "FulfilmentFailed"), "close": (FAULT, None)},
    "dispatched": {"confirm": ("confirmed", None), "fail": ("ended", None), "close": ("ended", None)},
    "rejected": {"confirm": ("ended", None), "fail": ("ended", None), "close": ("rejected", None)},
}
CASES = [(state, step, *outcome) for state, steps in OUTCOMES.items() for step, outcome in steps.items()]


def write(aws: Aws, commands: Sequence[Command], order: str = orders.ORDER_ID) -> None:
    """Put an order that was given these commands into the log."""
    for event in orders.history(*commands, order_id=order):
        item = {"order_id": {"S": order}, "version": {"N": str(event.order_version)}, "event": {"S": events.encode(event).decode()}}
        aws.dynamodb.seed("OrderLog", item)


def types(aws: Aws) -> list[str]:
    return [json.loads(item["event"]["S"])["type"] for item in aws.dynamodb.items("OrderLog")]


@pytest.mark.parametrize(("state", "step", "outcome", "added"), CASES)
def test_every_step_in_every_state(aws: Aws, context: Any, state: str, step: str, outcome: str, added: str | None) -> None:
    write(aws, orders.STATES[state])
    before = types(aws)
    event = {**STEP, "step": "authorize", "error": "States.Timeout"} if step == "fail" else STEP
    for _ in range(2):
        if outcome == FAULT:
            with pytest.raises(RuntimeError, match=f"{orders.ORDER_ID} is "):
                HANDLERS[step](event, context)
        else:
            assert HANDLERS[step](event, context) == {"outcome": outcome}
        assert types(aws) == before + [added] * bool(added)


def test_a_step_that_gave_up_is_named_in_the_event_and_in_the_rejection(aws: Aws, context: Any) -> None:
    write(aws, orders.STATES["placed"])
    HANDLERS["fail"]({**STEP, "step": "screen", "error": "Lambda.Unknown"}, context)
    close.handler(STEP, context)
    *_, failed, rejected = OrderLog("OrderLog", aws.dynamodb.client).history(orders.ORDER_ID)
    assert failed.data == events.FulfilmentFailed("screen", "Lambda.Unknown")
    assert isinstance(rejected.data, events.OrderRejected)
    assert (rejected.data.reason, rejected.data.details) == ("fulfilment_failed", ("screen",))
    assert {failed.source, rejected.source} == {"orders"}


def test_the_rest_of_an_order_is_closed_as_cancelled_and_the_order_goes_on(aws: Aws, context: Any) -> None:
    write(aws, (*orders.STATES["cancelling the rest"], orders.CAPTURE_PART, orders.VOID, orders.RELEASE))
    assert [close.handler(STEP, context) for _ in range(2)] == [{"outcome": "ended"}] * 2
    log = OrderLog("OrderLog", aws.dynamodb.client)
    last = log.history(orders.ORDER_ID)[-1]
    assert last.data == events.OrderLinesCancelled(orders.ANN, orders.REST, Money(1740, "EUR"), "customer", "changed my mind")
    assert log.load(orders.ORDER_ID).state == "dispatched"


@pytest.mark.parametrize(("state", "left"), [("released", 0), ("cancelling placed", 0), ("recalled", 0), ("confirmed", 1)])
def test_closing_an_order_deletes_its_payment_token(aws: Aws, context: Any, state: str, left: int) -> None:
    write(aws, orders.STATES[state])
    aws.dynamodb.seed("PaymentTokens", {"order_id": {"S": orders.ORDER_ID}, "payment_token": {"S": "tok_approved"}})
    with contextlib.suppress(RuntimeError):
        close.handler(STEP, context)
    assert len(aws.dynamodb.items("PaymentTokens")) == left


@pytest.mark.parametrize("step", HANDLERS)
def test_an_order_that_does_not_exist_is_a_fault(aws: Aws, context: Any, step: str) -> None:
    with pytest.raises(OrderNotFound):
        HANDLERS[step]({**STEP, "step": "x", "error": "y"}, context)


@pytest.mark.parametrize("name", [name for step in HANDLERS for name in samples.names(f"orders/{step}")])
def test_the_samples_have_the_answers_that_stand_beside_them(aws: Aws, context: Any, name: str) -> None:
    event = samples.sample(name)
    prepare(OrderLog("OrderLog", aws.dynamodb.client), event["order_id"])
    assert samples.agrees(HANDLERS[name.split("/")[1]](event, context), samples.expected(name))
