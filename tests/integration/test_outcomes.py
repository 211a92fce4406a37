"""Every outcome of an order, with its stock, charges and emails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from devtools.local import seed
from devtools.local.api_client import order_body
from tests.integration.world import World, order_types

RESERVED = ["OrderPlaced", "StockReserved"]
APPROVED = [*RESERVED, "OrderScreened"]
CONFIRMED = [*APPROVED, "PaymentAuthorized", "OrderConfirmed"]
DECLINED = [*APPROVED, "PaymentDeclined", "StockReleased", "OrderRejected"]
STOCK = 10
# All retries of an unavailable provider and of the compensation, with the longest backoff.
GIVING_UP_SECONDS = 60.0


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
def orders(world: World) -> dict[str, Placed]:
    """An order of each outcome, placed in parallel where the target supports it."""
    placed: dict[str, Placed] = {}
    for name, expected in OUTCOMES.items():
        placed[name] = _place(world, name, expected)
        if world.lacks("isolated-transactions"):
            _ended(world, placed[name])
    return placed


def _ended(world: World, placed: Placed) -> list[dict[str, Any]]:
    return world.ended(placed.customer, placed.order_id, within=world.patience + GIVING_UP_SECONDS)


def _place(world: World, name: str, expected: Expected) -> Placed:
    customer = world.customer(name)
    if expected.hasty:
        for minutes in range(1, 7):
            seed.add_past_order(world.target, customer, datetime.now(UTC) - timedelta(minutes=minutes))
    sku = world.product(expected.stock, price=expected.price)
    return Placed(customer, sku, world.buy(customer, sku, 2, payment=expected.payment, ship_to=expected.ship_to))


# The slowest order is placed first and checked last.
each_outcome = pytest.mark.parametrize("name", list(reversed(OUTCOMES)))


@each_outcome
def test_order_reaches_the_expected_outcome(world: World, orders: dict[str, Placed], name: str):
    placed, expected = orders[name], OUTCOMES[name]

    history = _ended(world, placed)

    assert order_types(history) == expected.types
    assert _view(world, placed) == expected.outcome


def _view(world: World, placed: Placed) -> str:
    order: dict[str, Any] = world.shop.order(placed.customer, placed.order_id).json()
    return f"{order['state']}: {order['reason']}" if "reason" in order else order["state"]


@each_outcome
def test_stock_and_charges_match_the_outcome(world: World, orders: dict[str, Placed], name: str):
    placed, expected = orders[name], OUTCOMES[name]
    _ended(world, placed)

    assert world.stock(placed.sku) == (expected.stock - expected.reserved, expected.reserved)
    charges = world.charges(placed.order_id)
    assert [charge.amount.amount for charge in charges] == [2 * expected.price] * expected.charges


@each_outcome
def test_customer_gets_one_email(world: World, orders: dict[str, Placed], name: str):
    placed, expected = orders[name], OUTCOMES[name]
    _ended(world, placed)

    (email,) = world.mails(placed.order_id)

    assert expected.subject in email["Subject"]
    assert email["To"] == [f"{placed.customer}@example.com"]


@each_outcome
def test_log_has_no_gap_and_every_event_its_cause(world: World, orders: dict[str, Placed], name: str):
    placed = orders[name]
    _ended(world, placed)

    log = world.log(placed.order_id)

    assert [event.order_version for event in log] == list(range(1, len(log) + 1))
    assert log[0].causation_id is None
    assert all(later.causation_id == earlier.event_id for earlier, later in pairwise(log))
    assert len({event.correlation_id for event in log}) == 1


def test_order_with_the_most_lines_is_fulfilled(world: World):
    customer = world.customer()
    skus = world.products(50, price=100)

    order_id = world.accept(customer, order_body(*((sku, 1) for sku in skus)))

    assert world.outcome(customer, order_id) == "confirmed"
    assert {world.stock(sku) for sku in skus} == {(99, 1)}


@pytest.mark.needs("isolated-transactions")
def test_last_item_goes_to_one_of_two_customers(world: World):
    sku = world.product(stock=1)
    customers = [world.customer("first"), world.customer("second")]

    orders = {customer: world.buy(customer, sku) for customer in customers}

    assert sorted(world.outcome(customer, order_id) for customer, order_id in orders.items()) == ["confirmed", "rejected: out_of_stock"]
    assert world.stock(sku) == (0, 1)
    assert sum(len(world.charges(order_id)) for order_id in orders.values()) == 1
