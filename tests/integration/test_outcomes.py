"""Every outcome of an order, with its stock, charges and emails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from devtools.local import seed
from devtools.local.api_client import order_body
from tests.integration.deployed_stack import DeployedStack, order_types

RESERVED = ["OrderPlaced", "StockReserved"]
APPROVED = [*RESERVED, "OrderScreened"]
CONFIRMED = [*APPROVED, "PaymentAuthorized", "OrderConfirmed"]
DECLINED = [*APPROVED, "PaymentDeclined", "StockReleased", "OrderRejected"]
STOCK = 10
# All retries of an unavailable provider and of the compensation, with the longest backoff.
RETRY_SECONDS = 60.0


class Expected(NamedTuple):
    """An order of two units of a product with `stock` units, and its expected outcome."""

    outcome: str
    types: list[str]
    payment: str = "tok_approved"
    stock: int = STOCK
    price: int = 1250
    ship_to: str = "GB"
    hasty: bool = False
    reserved: int = 0
    charges: int = 0
    subject: str = "We could not complete your order"


YES = "is confirmed"
OUTCOMES = {
    "provider-unavailable": Expected(
        "rejected: fulfilment_failed", [*APPROVED, "FulfilmentFailed", "StockReleased", "OrderRejected"], "tok_unavailable"
    ),
    "confirmed": Expected("confirmed", CONFIRMED, reserved=2, charges=1, subject=YES),
    "slow-provider": Expected("confirmed", CONFIRMED, "tok_slow", reserved=2, charges=1, subject=YES),
    "timeout-before": Expected("confirmed", CONFIRMED, "tok_timeout_before", reserved=2, charges=1, subject=YES),
    "timeout-after": Expected("confirmed", CONFIRMED, "tok_timeout_after", reserved=2, charges=1, subject=YES),
    "out-of-stock": Expected("rejected: out_of_stock", ["OrderPlaced", "StockReservationFailed", "OrderRejected"], stock=1),
    "declined": Expected("rejected: payment_declined", DECLINED, "tok_declined"),
    "insufficient-funds": Expected("rejected: payment_declined", DECLINED, "tok_insufficient_funds"),
    "held": Expected("held", [*RESERVED, "OrderHeldForReview"], price=60_000, reserved=2, subject="We are checking your order"),
    "refused": Expected("rejected: fraud_refused", [*APPROVED, "StockReleased", "OrderRejected"], price=300_000, ship_to="US", hasty=True),
}


class Placed(NamedTuple):
    """An accepted order."""

    customer: str
    sku: str
    order_id: str


@pytest.fixture(scope="module")
def orders(stack: DeployedStack) -> dict[str, Placed]:
    """An order of each outcome, placed in parallel where the target supports it."""
    placed: dict[str, Placed] = {}
    for name, expected in OUTCOMES.items():
        placed[name] = _place(stack, name, expected)
        if stack.lacks("isolated-transactions"):
            _ended(stack, placed[name])
    return placed


def _ended(stack: DeployedStack, placed: Placed) -> list[dict[str, Any]]:
    return stack.ended(placed.customer, placed.order_id, within=stack.patience + RETRY_SECONDS)


def _place(stack: DeployedStack, name: str, expected: Expected) -> Placed:
    customer = stack.customer(name)
    if expected.hasty:
        for minutes in range(1, 7):
            seed.add_past_order(stack.target, customer, datetime.now(UTC) - timedelta(minutes=minutes))
    sku = stack.product(expected.stock, price=expected.price)
    return Placed(customer, sku, stack.buy(customer, sku, 2, payment=expected.payment, ship_to=expected.ship_to))


# The slowest order is placed first and checked last.
each_outcome = pytest.mark.parametrize("name", list(reversed(OUTCOMES)))


@each_outcome
def test_order_reaches_the_expected_outcome(stack: DeployedStack, orders: dict[str, Placed], name: str):
    placed, expected = orders[name], OUTCOMES[name]

    history = _ended(stack, placed)

    assert order_types(history) == expected.types
    assert _view(stack, placed) == expected.outcome


def _view(stack: DeployedStack, placed: Placed) -> str:
    order: dict[str, Any] = stack.shop.order(placed.customer, placed.order_id).json()
    return f"{order['state']}: {order['reason']}" if "reason" in order else order["state"]


@each_outcome
def test_stock_and_charges_match_the_outcome(stack: DeployedStack, orders: dict[str, Placed], name: str):
    placed, expected = orders[name], OUTCOMES[name]
    _ended(stack, placed)

    assert stack.stock(placed.sku) == (expected.stock - expected.reserved, expected.reserved)
    charges = stack.charges(placed.order_id)
    assert [charge.amount.amount for charge in charges] == [2 * expected.price] * expected.charges


@pytest.mark.needs("inbox")
@each_outcome
def test_customer_gets_one_email(stack: DeployedStack, orders: dict[str, Placed], name: str):
    placed, expected = orders[name], OUTCOMES[name]
    _ended(stack, placed)

    (email,) = stack.emails(placed.order_id)

    assert expected.subject in email["Subject"]
    assert email["To"] == [stack.address(placed.customer)]


@each_outcome
def test_log_has_no_gap_and_every_event_its_cause(stack: DeployedStack, orders: dict[str, Placed], name: str):
    placed = orders[name]
    _ended(stack, placed)

    log = stack.log(placed.order_id)

    assert [event.order_version for event in log] == list(range(1, len(log) + 1))
    assert log[0].causation_id is None
    assert all(later.causation_id == earlier.event_id for earlier, later in pairwise(log))
    assert len({event.correlation_id for event in log}) == 1


def test_order_with_the_most_lines_is_fulfilled(stack: DeployedStack):
    customer = stack.customer()
    skus = stack.products(50, price=100)

    order_id = stack.accept(customer, order_body(*((sku, 1) for sku in skus)))

    assert stack.outcome(customer, order_id) == "confirmed"
    assert {stack.stock(sku) for sku in skus} == {(99, 1)}


@pytest.mark.needs("isolated-transactions")
def test_last_item_goes_to_one_of_two_customers(stack: DeployedStack):
    sku = stack.product(stock=1)
    customers = [stack.customer("first"), stack.customer("second")]

    orders = {customer: stack.buy(customer, sku) for customer in customers}

    assert sorted(stack.outcome(customer, order_id) for customer, order_id in orders.items()) == ["confirmed", "rejected: out_of_stock"]
    assert stack.stock(sku) == (0, 1)
    assert sum(len(stack.charges(order_id)) for order_id in orders.values()) == 1
