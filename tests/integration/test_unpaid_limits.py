"""Limits and payment tokens of unpaid orders."""

from __future__ import annotations

from typing import Any

import pytest

from devtools.local.api_client import order_body
from orders.domain.unpaid_limits import MAX_UNITS
from tests.integration.world import World, eventually

# MAX_UNITS of it make an order that is held for review.
PRICE = 120_000 // MAX_UNITS


def _token(world: World, order_id: str) -> dict[str, Any] | None:
    key = {"order_id": {"S": order_id}}
    return world.dynamodb.get_item(TableName=world.table("PaymentTokens"), Key=key, ConsistentRead=True).get("Item")


def test_unpaid_limit_applies_until_an_order_ends(world: World):
    customer, sku = world.customer(), world.product(3 * MAX_UNITS, price=PRICE)
    held = world.buy(customer, sku, MAX_UNITS)
    assert world.outcome(customer, held) == "held"

    refused = world.shop.place(customer, order_body((sku, 1)))
    assert (refused.status, refused.json()["type"]) == (409, "urn:order-pipeline:problem:unpaid-limit-reached")
    assert (refused.json()["unpaid_orders"], refused.json()["skus"]) == ([held], [sku])

    assert world.shop.cancel(customer, held).status == 202
    assert world.outcome(customer, held) == "cancelled"
    assert world.outcome(customer, world.buy(customer, sku)) == "confirmed"


def test_paid_orders_do_not_count_towards_the_limit(world: World):
    customer, sku = world.customer(), world.product(3 * MAX_UNITS, price=1)
    for _ in range(2):
        assert world.outcome(customer, world.buy(customer, sku, MAX_UNITS)) == "confirmed"


@pytest.mark.parametrize(("token", "stock"), [("tok_approved", 10), ("tok_declined", 10), ("tok_approved", 0)])
def test_payment_token_is_deleted_when_the_order_is_decided(world: World, token: str, stock: int):
    customer, sku = world.customer(), world.product(stock)
    order_id = world.accept(customer, order_body((sku, 1), payment=token))
    world.ended(customer, order_id)
    eventually(lambda: _token(world, order_id) is None, within=world.patience, what=f"the token of {order_id} is deleted")


def test_a_held_order_keeps_its_payment_token(world: World):
    customer, sku = world.customer(), world.product(10, price=120_000)
    order_id = world.buy(customer, sku)
    assert world.outcome(customer, order_id) == "held"
    assert _token(world, order_id)
