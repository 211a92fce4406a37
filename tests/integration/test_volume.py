"""Many orders at once: all in the right end state, nothing lost, nothing twice, nothing stuck."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from uuid import uuid4

import pytest

from devtools.shop import order_body
from tests.integration.world import World, eventually

ORDERS = 500
AT_ONCE = 8
CUSTOMERS = 20
SECONDS = 120.0
# Of eleven orders, one each is sold out or declined; of the scarce product there is enough for the others.
KINDS = ("tok_approved",) * 9 + ("tok_declined", "sold-out")
EXPECTED = {"tok_approved": "OrderConfirmed", "tok_declined": "OrderRejected", "sold-out": "OrderRejected"}


class Placed(NamedTuple):
    """An order that was accepted, and of which kind."""

    order_id: str
    kind: str


@pytest.mark.needs("volume")
def test_five_hundred_orders_at_eight_at_a_time(world: World):
    customers = [world.customer("many") for _ in range(CUSTOMERS)]
    sku, sold_out = world.product(stock=10 * ORDERS), world.product(stock=0)

    def place(number: int) -> Placed:
        kind = KINDS[number % len(KINDS)]
        body = order_body((sold_out, 1)) if kind == "sold-out" else order_body((sku, 1), payment=kind)
        key = str(uuid4())
        # As the API asks of its clients: after a fault on its side, the same request with the same key.
        answer = eventually(
            lambda: world.shop.place(customers[number % CUSTOMERS], body, key),
            lambda answer: answer.status < 500,
            within=SECONDS,
            what="an answer",
        )
        assert answer.status == 201, answer
        return Placed(answer.json()["order_id"], kind)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        placed = list(pool.map(place, range(ORDERS)))

    assert len({order.order_id for order in placed}) == ORDERS
    mine = {order.order_id for order in placed}
    eventually(lambda: _open(world) & mine, lambda left: not left, within=SECONDS, what="no order is open")
    ends = {order.order_id: world.log(order.order_id)[-1].type for order in placed}
    assert {order.order_id: EXPECTED[order.kind] for order in placed} == ends
    confirmed = Counter(ends.values())["OrderConfirmed"]
    assert world.stock(sku) == (10 * ORDERS - confirmed, confirmed)
    assert world.stock(sold_out) == (0, 0)
    charges = Counter(key.partition(":")[0] for key, _ in world.authorized())
    assert {order_id: count for order_id, count in charges.items() if order_id in mine} == {
        order_id: 1 for order_id, end in ends.items() if end == "OrderConfirmed"
    }
    mails = eventually(lambda: _mailed(world, mine), lambda found: len(found) >= ORDERS, within=SECONDS, what="a mail for each order")
    world.queue_drained("MailQueueUrl")
    assert set(mails.values()) == set(_mailed(world, mine).values()) == {1}


def _open(world: World) -> set[str]:
    """The orders on the index that the sweeper reads."""
    items = world.scan("OrderLog", FilterExpression="attribute_exists(open_shard)", ProjectionExpression="order_id")
    return {item["order_id"]["S"] for item in items}


def _mailed(world: World, orders: set[str]) -> Counter[str]:
    """How many mails there are about each of the orders."""
    named = Counter(subject.split()[-1 if subject.startswith("We") else 2] for subject in world.mail_subjects())
    return Counter({order_id: count for order_id, count in named.items() if order_id in orders})
