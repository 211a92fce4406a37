"""Customers cancel orders at every step of the saga and return delivered lines; stock and payments stay consistent."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from devtools.local.api_client import order_body
from devtools.web import Answer
from orderflow.aws.order_log import OrderLog
from orderflow.domain.commands import RecordDelivery, RecordDispatch
from orderflow.domain.order import remaining
from orders.domain import pricing
from tests.integration.deployed_stack import DeployedStack, eventually, order_types

STOCK = 10
# An amount that the fraud rules hold for review.
HELD = 289_900


def _cancelled(stack: DeployedStack, customer: str, order_id: str, skus: list[str]) -> None:
    """Check that the order ended as cancelled, without reserved stock or charges."""
    assert stack.outcome(customer, order_id) == "cancelled"
    assert stack.shop.order(customer, order_id).json()["state"] == "cancelled"
    types = order_types(stack.shop.events(customer, order_id))
    assert types.count("CancellationRequested") == types.count("OrderCancelled") == 1
    assert types[-1] == "OrderCancelled"
    assert {stack.stock(sku) for sku in skus} == {(STOCK, 0)}
    assert stack.charges(order_id) == []


def _reached(stack: DeployedStack, order_id: str, event: str) -> None:
    eventually(lambda: [one.type for one in stack.log(order_id)], lambda types: event in types, within=stack.patience, what=event)


def test_held_order_can_be_cancelled(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product(STOCK, price=HELD)
    order_id = stack.buy(customer, sku)
    assert stack.outcome(customer, order_id) == "held"

    answer = stack.shop.cancel(customer, order_id, {"reason": "it takes too long"})

    assert (answer.status, answer.json()["state"]) == (202, "cancelling")
    _cancelled(stack, customer, order_id, [sku])
    eventually(lambda: len(stack.sent(order_id)), lambda count: count == 2, within=stack.patience, what="two emails")


@pytest.mark.needs("inbox")
def test_emails_report_a_held_and_then_a_cancelled_order(stack: DeployedStack):
    customer = stack.customer()
    order_id = stack.buy(customer, stack.product(STOCK, price=HELD))
    assert stack.outcome(customer, order_id) == "held"
    assert stack.shop.cancel(customer, order_id).status == 202

    emails = eventually(lambda: stack.sent(order_id), lambda found: len(found) > 1, within=stack.patience, what="two emails")

    subjects = [f"We are checking your order {order_id}", f"Your order {order_id} is cancelled"]
    assert sorted(email["Subject"] for email in emails) == subjects


@pytest.mark.needs("isolated-transactions")
@pytest.mark.parametrize("moment", ["OrderPlaced", "StockReserved", "OrderScreened", "PaymentAuthorized", "OrderConfirmed"])
def test_order_can_be_cancelled_at_every_step_of_the_saga(stack: DeployedStack, moment: str):
    customer, sku = stack.customer(), stack.product(STOCK)
    order_id = stack.buy(customer, sku, 2)
    _reached(stack, order_id, moment)

    assert stack.shop.cancel(customer, order_id).status == 202

    _cancelled(stack, customer, order_id, [sku])


@pytest.mark.needs("isolated-transactions")
def test_concurrent_placing_and_cancelling_ends_consistently(stack: DeployedStack):
    """The order id is known in advance, so a cancellation may arrive before its order and is repeated then."""
    customer, sku, keys = stack.customer(), stack.product(STOCK), [str(uuid4()) for _ in range(4)]

    def cancel(key: str) -> Answer:
        order_id = pricing.order_id(customer, key)
        return eventually(
            lambda: stack.shop.cancel(customer, order_id), lambda answer: answer.status != 404, within=stack.patience, what="an order"
        )

    with ThreadPoolExecutor(8) as pool:
        placing = [pool.submit(stack.accept, customer, order_body((sku, 1)), key) for key in keys]
        answers = list(pool.map(cancel, keys))
        orders = [placed.result() for placed in placing]

    assert [answer.status for answer in answers] == [202] * len(keys)
    for order_id in orders:
        assert stack.outcome(customer, order_id) == "cancelled"
        assert stack.charges(order_id) == []
    assert stack.stock(sku) == (STOCK, 0)


def test_repeated_cancellation_changes_nothing(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product(STOCK)
    order_id = stack.buy(customer, sku)

    answers = [stack.shop.cancel(customer, order_id, {"reason": reason}) for reason in ("first", "second")]
    _cancelled(stack, customer, order_id, [sku])
    answers.append(stack.shop.cancel(customer, order_id))

    assert [answer.status for answer in answers] == [202, 202, 202]
    assert answers[-1].json()["state"] == "cancelled"
    assert [event["data"]["reason"] for event in stack.shop.events(customer, order_id) if "by" in event["data"]] == ["first", "first"]


def test_order_of_another_customer_is_not_found(stack: DeployedStack):
    customer, stranger = stack.customer(), stack.customer("stranger")
    order_id = stack.buy(customer, stack.product(STOCK))
    lines = {"lines": [{"sku": "MUG-BLUE", "quantity": 1}]}

    answers = [stack.shop.cancel(stranger, order_id), stack.shop.create_return(stranger, order_id, lines)]

    assert [(answer.status, answer.json()["type"]) for answer in answers] == [(404, "urn:order-pipeline:problem:order-not-found")] * 2
    assert stack.outcome(customer, order_id) == "confirmed"


def test_rejected_order_cannot_be_cancelled(stack: DeployedStack):
    customer = stack.customer()
    order_id = stack.buy(customer, stack.product(STOCK), payment="tok_declined")
    assert stack.outcome(customer, order_id) == "rejected: payment_declined"
    before = stack.log(order_id)

    answer = stack.shop.cancel(customer, order_id)

    assert (answer.status, answer.json()["type"]) == (409, "urn:order-pipeline:problem:not-cancellable")
    assert answer.json()["detail"] == "this order was rejected: it is not charged or shipped"
    assert stack.log(order_id) == before


WRONG: dict[str, tuple[bytes, int, str]] = {
    "no JSON": (b"{", 400, "malformed-json"),
    "a form": (b"reason=late", 400, "malformed-json"),
    "no UTF-8": (b'{"reason": "\xff"}', 400, "malformed-json"),
    "a list": (b"[]", 422, "invalid-request"),
    "a reason of the wrong type": (b'{"reason": 1}', 422, "invalid-request"),
    "an overlong reason": (json.dumps({"reason": "x" * 501}).encode(), 422, "invalid-request"),
    "an unknown field": (b'{"by": "operator"}', 422, "invalid-request"),
    "too large": (b" " * 65_537, 413, "body-too-large"),
}


@pytest.fixture(scope="module")
def untouched(stack: DeployedStack) -> Any:
    """A customer's order that no malformed request may change."""
    customer = stack.customer()
    order_id = stack.buy(customer, stack.product(STOCK))
    yield customer, order_id
    assert stack.outcome(customer, order_id) == "confirmed"


@pytest.mark.parametrize("name", WRONG)
def test_malformed_cancellation_is_refused(stack: DeployedStack, untouched: tuple[str, str], name: str):
    body, status, problem = WRONG[name]

    answer = stack.shop.cancel(*untouched, body)

    assert (answer.status, answer.json()["type"]) == (status, f"urn:order-pipeline:problem:{problem}")


def _delivered(stack: DeployedStack, customer: str, sku: str, quantity: int) -> str:
    """The id of a delivered order."""
    order_id = stack.buy(customer, sku, quantity)
    assert stack.outcome(customer, order_id) == "confirmed"
    log = OrderLog(stack.table("OrderLog"), stack.dynamodb)
    order = log.load(order_id)
    for command in (RecordDispatch("parcel_1", remaining(order)), RecordDelivery("parcel_1")):
        order = log.record(order, command, source="shipping").order
    return order_id


def test_delivered_lines_are_returned_once(stack: DeployedStack):
    customer, sku, key = stack.customer(), stack.product(STOCK), str(uuid4())
    order_id = _delivered(stack, customer, sku, 2)
    body = {"lines": [{"sku": sku, "quantity": 1}, {"sku": sku, "quantity": 1}], "reason": "too small"}

    first, again = (stack.shop.create_return(customer, order_id, body, key) for _ in range(2))
    other = stack.shop.create_return(customer, order_id, body | {"reason": "too big"}, key)
    beyond = stack.shop.create_return(customer, order_id, body)

    assert (first.status, first.body) == (201, again.body)
    assert first.json()["lines"] == [{"sku": sku, "quantity": 2}]
    assert "location" not in first.headers
    assert (other.status, other.json()["type"]) == (422, "urn:order-pipeline:problem:idempotency-key-reused")
    assert (beyond.status, beyond.json()["type"]) == (409, "urn:order-pipeline:problem:not-returnable")
    order = stack.shop.order(customer, order_id).json()
    assert order["state"] == "delivered"
    assert [parcel["state"] for parcel in order["parcels"]] == ["delivered"]
    assert order["returns"] == [first.json()]


def test_undelivered_lines_cannot_be_returned(stack: DeployedStack, untouched: tuple[str, str]):
    answer = stack.shop.create_return(*untouched, {"lines": [{"sku": "MUG-BLUE", "quantity": 1}]})

    assert (answer.status, answer.json()["type"]) == (409, "urn:order-pipeline:problem:not-returnable")
