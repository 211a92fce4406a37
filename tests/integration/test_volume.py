"""Many concurrent orders all reach the right end: none lost, duplicated or stuck."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from uuid import uuid4

import pytest

from devtools.local.api_client import order_body
from inventory.domain.stock_rules import SHARDS
from tests.integration.deployed_stack import NOT_OF_THE_SAGA, DeployedStack, eventually

ORDERS = 500
AT_ONCE = 8
CUSTOMERS = 20
SECONDS = 120.0
# Orders of one product with fewer units.
BUYERS = 80
UNITS = 48
# Of eleven orders, one each is declined or sold out.
KINDS = ("tok_approved",) * 9 + ("tok_declined", "sold-out")
EXPECTED = {"tok_approved": "OrderConfirmed", "tok_declined": "OrderRejected", "sold-out": "OrderRejected"}
ENDS = frozenset(EXPECTED.values())


class Followed(NamedTuple):
    """An ended order with its expected and its actual last event."""

    order_id: str
    expected: str
    last: str


@pytest.mark.needs("volume")
def test_five_hundred_orders_all_reach_their_end(stack: DeployedStack):
    customers = [stack.customer("many") for _ in range(CUSTOMERS)]
    sku, sold_out = stack.product(stock=10 * ORDERS), stack.product(stock=0)

    def follow(number: int) -> Followed:
        kind = KINDS[number % len(KINDS)]
        body = order_body((sold_out, 1)) if kind == "sold-out" else order_body((sku, 1), payment=kind)
        order_id = _place(stack, customers[number % CUSTOMERS], body)
        last = eventually(lambda: _last(stack, order_id), ENDS.__contains__, within=SECONDS, what=f"{order_id} ends")
        return Followed(order_id, EXPECTED[kind], last)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        followed = list(pool.map(follow, range(ORDERS)))

    assert len({order.order_id for order in followed}) == ORDERS
    assert [order for order in followed if order.last != order.expected] == []
    confirmed = {order.order_id for order in followed if order.last == "OrderConfirmed"}
    assert stack.stock(sku) == (10 * ORDERS - len(confirmed), len(confirmed))
    assert stack.stock(sold_out) == (0, 0)
    mine = {order.order_id for order in followed}
    assert Counter(key.partition(":")[0] for key, _ in stack.authorized() if key.partition(":")[0] in mine) == Counter(confirmed)
    eventually(lambda: _active(stack) & mine, lambda left: not left, within=SECONDS, what="no ended order is active")
    eventually(lambda: stack.emailed(mine), lambda sent: sent == Counter(mine), within=SECONDS, what="one email for each order")


@pytest.mark.needs("volume", "isolated-transactions")
def test_sharded_stock_sells_every_unit_once(stack: DeployedStack):
    """The stock is sharded with a few units each, so the last orders must search the shards."""
    sku = stack.product(stock=0)
    stack.shard_stock(sku, [UNITS // SHARDS] * SHARDS)
    customers = [stack.customer("buyer") for _ in range(CUSTOMERS)]

    def follow(number: int) -> str:
        order_id = _place(stack, customers[number % CUSTOMERS], order_body((sku, 1)))
        return eventually(lambda: _last(stack, order_id), ENDS.__contains__, within=SECONDS, what=f"{order_id} ends")

    with ThreadPoolExecutor(2 * AT_ONCE) as pool:
        ends = Counter(pool.map(follow, range(BUYERS)))

    assert ends == {"OrderConfirmed": UNITS, "OrderRejected": BUYERS - UNITS}
    assert stack.stock(sku) == (0, UNITS)


def _last(stack: DeployedStack, order_id: str) -> str:
    """The type of the last event appended by the saga."""
    return [event.type for event in stack.log(order_id) if event.type not in NOT_OF_THE_SAGA][-1]


def _place(stack: DeployedStack, customer: str, body: dict[str, object]) -> str:
    key = str(uuid4())
    # Clients retry a 5xx answer with the same key.
    answer = eventually(lambda: stack.shop.place(customer, body, key), lambda answer: answer.status < 500, within=SECONDS, what="an answer")
    assert answer.status == 201, answer
    return answer.json()["order_id"]


def _active(stack: DeployedStack) -> set[str]:
    """The ids of active orders."""
    items = stack.scan("OrderLog", FilterExpression="attribute_exists(open_shard)", ProjectionExpression="order_id")
    return {item["order_id"]["S"] for item in items}
