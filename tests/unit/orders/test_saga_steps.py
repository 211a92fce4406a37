"""The saga steps of orders (confirm, record failure, finalize) for an order in every state."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from orderflow.aws.order_log import OrderLog, OrderNotFound
from orderflow.domain import events
from orderflow.domain.commands import Command
from orderflow.domain.money import Money
from orders.handlers import confirm_order, finalize_order, record_failure
from tests.support import orders, samples
from tests.support.prepared import prepare

if TYPE_CHECKING:
    from tests.fakes.aws.environment import Aws

STEP: Any = {"order_id": orders.ORDER_ID, "correlation_id": orders.CORRELATION_ID, "execution": "arn:1"}
HANDLERS: dict[str, Any] = {
    "confirm_order": confirm_order.handler,
    "record_failure": record_failure.handler,
    "finalize_order": finalize_order.handler,
}
FAULT = "RuntimeError"

# By state of the order: the outcome of each step and the event it appends. The saga retries a fault.
OUTCOMES: dict[str, dict[str, tuple[str, str | None]]] = {
    "placed": {"confirm_order": ("unreserved", None), "record_failure": ("failing", "FulfilmentFailed"), "finalize_order": (FAULT, None)},
    "reserved": {"confirm_order": (FAULT, None), "record_failure": ("failing", "FulfilmentFailed"), "finalize_order": (FAULT, None)},
    "screened": {"confirm_order": (FAULT, None), "record_failure": ("failing", "FulfilmentFailed"), "finalize_order": (FAULT, None)},
    "held": {"confirm_order": ("held", None), "record_failure": ("inactive", None), "finalize_order": (FAULT, None)},
    "authorized": {
        "confirm_order": ("confirmed", "OrderConfirmed"),
        "record_failure": ("failing", "FulfilmentFailed"),
        "finalize_order": (FAULT, None),
    },
    "confirmed": {"confirm_order": ("confirmed", None), "record_failure": ("inactive", None), "finalize_order": ("inactive", None)},
    "out of stock": {
        "confirm_order": ("failing", None),
        "record_failure": ("failing", None),
        "finalize_order": ("rejected", "OrderRejected"),
    },
    "declined": {"confirm_order": ("failing", None), "record_failure": ("failing", None), "finalize_order": (FAULT, None)},
    "failed authorized": {"confirm_order": ("failing", None), "record_failure": ("failing", None), "finalize_order": (FAULT, None)},
    "voided": {"confirm_order": ("failing", None), "record_failure": ("failing", None), "finalize_order": (FAULT, None)},
    "released": {"confirm_order": ("failing", None), "record_failure": ("failing", None), "finalize_order": ("rejected", "OrderRejected")},
    "cancelling authorized": {
        "confirm_order": ("cancelling", None),
        "record_failure": ("cancelling", None),
        "finalize_order": (FAULT, None),
    },
    "cancelling placed": {
        "confirm_order": ("cancelling", None),
        "record_failure": ("cancelling", None),
        "finalize_order": ("cancelled", "OrderCancelled"),
    },
    "cancelled": {"confirm_order": ("inactive", None), "record_failure": ("inactive", None), "finalize_order": ("cancelled", None)},
    "cancelling shipping": {"confirm_order": ("cancelling", None), "record_failure": ("cancelling", None), "finalize_order": (FAULT, None)},
    "recalled": {"confirm_order": ("cancelling", None), "record_failure": ("cancelling", None), "finalize_order": (FAULT, None)},
    "cancelling the rest": {"confirm_order": ("cancelling", None), "record_failure": ("cancelling", None), "finalize_order": (FAULT, None)},
    "rest cancelled": {"confirm_order": ("confirmed", None), "record_failure": ("inactive", None), "finalize_order": ("inactive", None)},
    "cancellation failed": {
        "confirm_order": ("confirmed", None),
        "record_failure": ("inactive", None),
        "finalize_order": ("inactive", None),
    },
    "review rejected": {"confirm_order": ("failing", None), "record_failure": ("failing", None), "finalize_order": (FAULT, None)},
    "expired": {"confirm_order": ("unreserved", None), "record_failure": ("failing", "FulfilmentFailed"), "finalize_order": (FAULT, None)},
    "dispatched": {"confirm_order": ("confirmed", None), "record_failure": ("inactive", None), "finalize_order": ("inactive", None)},
    "rejected": {"confirm_order": ("inactive", None), "record_failure": ("inactive", None), "finalize_order": ("rejected", None)},
}
CASES = [(state, step, *outcome) for state, steps in OUTCOMES.items() for step, outcome in steps.items()]


def write(aws: Aws, commands: Sequence[Command], order: str = orders.ORDER_ID) -> None:
    """Append an order after these commands to the log."""
    for event in orders.history(*commands, order_id=order):
        item = {"order_id": {"S": order}, "version": {"N": str(event.order_version)}, "event": {"S": events.encode(event).decode()}}
        aws.dynamodb.seed("OrderLog", item)


def types(aws: Aws) -> list[str]:
    return [json.loads(item["event"]["S"])["type"] for item in aws.dynamodb.items("OrderLog")]


@pytest.mark.parametrize(("state", "step", "outcome", "added"), CASES)
def test_step_outcome_in_every_state(aws: Aws, context: Any, state: str, step: str, outcome: str, added: str | None) -> None:
    write(aws, orders.STATES[state])
    before = types(aws)
    event = {**STEP, "step": "authorize", "error": "States.Timeout"} if step == "record_failure" else STEP
    for _ in range(2):
        if outcome == FAULT:
            with pytest.raises(RuntimeError, match=f"{orders.ORDER_ID} is "):
                HANDLERS[step](event, context)
        else:
            assert HANDLERS[step](event, context) == {"outcome": outcome}
        assert types(aws) == before + [added] * bool(added)


def test_failed_step_is_named_in_event_and_rejection(aws: Aws, context: Any) -> None:
    write(aws, orders.STATES["placed"])
    HANDLERS["record_failure"]({**STEP, "step": "screen", "error": "Lambda.Unknown"}, context)
    finalize_order.handler(STEP, context)
    *_, failed, rejected = OrderLog("OrderLog", aws.dynamodb.client).history(orders.ORDER_ID)
    assert failed.data == events.FulfilmentFailed("screen", "Lambda.Unknown")
    assert isinstance(rejected.data, events.OrderRejected)
    assert (rejected.data.reason, rejected.data.details) == ("fulfilment_failed", ("screen",))
    assert {failed.source, rejected.source} == {"orders"}


def test_rest_is_cancelled_and_the_order_continues(aws: Aws, context: Any) -> None:
    write(aws, (*orders.STATES["cancelling the rest"], orders.CAPTURE_PART, orders.VOID, orders.RELEASE))
    assert [finalize_order.handler(STEP, context) for _ in range(2)] == [{"outcome": "inactive"}] * 2
    log = OrderLog("OrderLog", aws.dynamodb.client)
    last = log.history(orders.ORDER_ID)[-1]
    assert last.data == events.OrderLinesCancelled(orders.ANN, orders.REST, Money(1740, "EUR"), "customer", "changed my mind")
    assert log.load(orders.ORDER_ID).state == "dispatched"


@pytest.mark.parametrize(("state", "left"), [("released", 0), ("cancelling placed", 0), ("recalled", 0), ("confirmed", 1)])
def test_finalizing_an_order_deletes_its_payment_token(aws: Aws, context: Any, state: str, left: int) -> None:
    write(aws, orders.STATES[state])
    aws.dynamodb.seed("PaymentTokens", {"order_id": {"S": orders.ORDER_ID}, "payment_token": {"S": "tok_approved"}})
    with contextlib.suppress(RuntimeError):
        finalize_order.handler(STEP, context)
    assert len(aws.dynamodb.items("PaymentTokens")) == left


@pytest.mark.parametrize("step", HANDLERS)
def test_order_that_does_not_exist_is_a_fault(aws: Aws, context: Any, step: str) -> None:
    with pytest.raises(OrderNotFound):
        HANDLERS[step]({**STEP, "step": "x", "error": "y"}, context)


@pytest.mark.parametrize("name", [name for step in HANDLERS for name in samples.names(f"orders/{step}")])
def test_samples_have_their_answers(aws: Aws, context: Any, name: str) -> None:
    event = samples.sample(name)
    prepare(OrderLog("OrderLog", aws.dynamodb.client), event["order_id"])
    assert samples.agrees(HANDLERS[name.split("/")[1]](event, context), samples.expected(name))
