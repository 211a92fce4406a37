"""Limits and payment tokens of unpaid orders."""

from __future__ import annotations

from typing import Any

import pytest

from devtools.local.api_client import order_body
from orders.domain.unpaid_limits import MAX_UNITS
from tests.integration.deployed_stack import DeployedStack, eventually

# An order of MAX_UNITS at this price is held for review.
PRICE = 120_000 // MAX_UNITS


def _token(stack: DeployedStack, order_id: str) -> dict[str, Any] | None:
    key = {"order_id": {"S": order_id}}
    return stack.dynamodb.get_item(TableName=stack.table("PaymentTokens"), Key=key, ConsistentRead=True).get("Item")


def test_unpaid_limit_applies_until_an_order_ends(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product(3 * MAX_UNITS, price=PRICE)
    held = stack.buy(customer, sku, MAX_UNITS)
    assert stack.outcome(customer, held) == "held"

    refused = stack.shop.place(customer, order_body((sku, 1)))
    assert (refused.status, refused.json()["type"]) == (409, "urn:order-pipeline:problem:unpaid-limit-reached")
    assert (refused.json()["unpaid_orders"], refused.json()["skus"]) == ([held], [sku])

    assert stack.shop.cancel(customer, held).status == 202
    assert stack.outcome(customer, held) == "cancelled"
    assert stack.outcome(customer, stack.buy(customer, sku)) == "confirmed"


def test_paid_orders_do_not_count_towards_the_limit(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product(3 * MAX_UNITS, price=1)
    for _ in range(2):
        assert stack.outcome(customer, stack.buy(customer, sku, MAX_UNITS)) == "confirmed"


@pytest.mark.parametrize(("token", "stock"), [("tok_approved", 10), ("tok_declined", 10), ("tok_approved", 0)])
def test_payment_token_is_deleted_when_the_order_is_decided(stack: DeployedStack, token: str, stock: int):
    customer, sku = stack.customer(), stack.product(stock)
    order_id = stack.accept(customer, order_body((sku, 1), payment=token))
    stack.ended(customer, order_id)
    eventually(lambda: _token(stack, order_id) is None, within=stack.patience, what=f"the token of {order_id} is deleted")


def test_held_order_keeps_its_payment_token(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product(10, price=120_000)
    order_id = stack.buy(customer, sku)
    assert stack.outcome(customer, order_id) == "held"
    assert _token(stack, order_id)
