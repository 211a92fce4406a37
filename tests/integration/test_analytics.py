"""Analytics: what is ordered is counted and ranked, once however often its events come, and for staff alone to see."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from devtools import issuer, replay
from orderflow import events
from orderflow.log import timestamp
from tests.integration.world import World, eventually

PRICE = 1250
# No other test sells for it.
CURRENCY = "DKK"


def _ask(world: World, path: str, **query: str) -> dict[str, Any]:
    token = issuer.token(world.target, "sue", ("staff",))
    answer = world.shop.call("GET", f"/analytics/{path}?{urlencode(query)}", None, Authorization=f"Bearer {token}")
    assert answer.status == 200, answer
    return answer.json()


def _board(world: World, **query: str) -> list[tuple[str, int]]:
    return [(one["sku"], one["units"]) for one in _ask(world, "leaderboard", **query)["products"]]


def _day(world: World) -> dict[str, Any]:
    """What the days came to so far, in the currency of this test."""
    found: dict[str, Any] = {"revenue": 0, "orders": 0, "payment_declined": 0, "stock_outs": 0}
    for one in _ask(world, "sales")["sales"]:
        found["revenue"] += sum(money["amount"] for money in one["revenue"] if money["currency"] == CURRENCY)
        found["orders"] += one["orders"]
        found["stock_outs"] += one["stock_outs"]
        found["payment_declined"] += sum(end["orders"] for end in one["outcomes"] if end["outcome"] == "payment_declined")
    return found


def _summed_up[T](world: World, look: Callable[[], T], holds: Callable[[T], object], what: str) -> T:
    def found() -> T:
        world.invoke("AnalyticsRecalculate", {})
        return look()

    return eventually(found, holds, within=world.patience, what=what)


def _categorize(world: World, category: str, *skus: str) -> None:
    for sku in skus:
        world.dynamodb.update_item(
            TableName=world.table("Catalogue"),
            Key={"sku": {"S": sku}},
            UpdateExpression="SET category = :category",
            ExpressionAttributeValues={":category": {"S": category}},
        )


def _deliver_again(world: World, order_ids: list[str]) -> None:
    """Put an order's events on the queue as a replay would, newest first and twice."""
    for order_id in order_ids:
        bodies = [json.dumps({"detail-type": one.type, "detail": json.loads(events.encode(one))}) for one in world.log(order_id)]
        entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate([*bodies[::-1][:5], *bodies[:5]])]
        url = world.target.resources["AnalyticsCountQueueUrl"]
        assert not world.target.client("sqs").send_message_batch(QueueUrl=url, Entries=entries).get("Failed")


def test_what_is_sold_is_ranked_and_summed_up_once(world: World):
    customer, category = world.customer(), f"c-{uuid4().hex[:12]}"
    best, second, declined, short = world.products(4, price=PRICE, currency=CURRENCY)
    _categorize(world, category, best, second, declined)
    world.invoke("AnalyticsRecalculate", {})
    before = _day(world)

    order_ids = [world.buy(customer, best, 2), world.buy(customer, second), world.buy(customer, best)]
    undone = [world.buy(customer, declined, payment="tok_declined"), world.buy(customer, short, 500)]
    for order_id in order_ids:
        assert world.outcome(customer, order_id) == "confirmed"
    assert [world.outcome(customer, one) for one in undone] == ["rejected: payment_declined", "rejected: out_of_stock"]

    wanted = [(best, 3), (second, 1)]
    _summed_up(world, lambda: _board(world, category=category), lambda found: found == wanted, "the best sellers of the category")
    day = timestamp(world.log(order_ids[0])[0].occurred_at)[:10]
    assert _board(world, category=category, limit="1") == wanted[:1]
    assert {*_board(world, day=day, category=category), *_board(world, day=day, limit="100")} >= {(best, 3)}
    after = _summed_up(world, lambda: _day(world), lambda found: found["stock_outs"] > before["stock_outs"], "what the day came to")
    assert after["revenue"] - before["revenue"] == 4 * PRICE
    assert after["orders"] - before["orders"] >= 5
    assert after["payment_declined"] - before["payment_declined"] >= 1

    _deliver_again(world, order_ids)
    world.queue_drained("AnalyticsCountQueueUrl")
    world.invoke("AnalyticsRecalculate", {})
    assert _board(world, category=category) == wanted
    assert _day(world)["revenue"] == after["revenue"]
    assert world.waiting("AnalyticsCountDeadLettersUrl") == []


@pytest.mark.needs("replay")
def test_what_was_lost_is_there_again_after_a_replay_and_counts_once(world: World):
    since, customer, category = datetime.now(UTC), world.customer(), f"c-{uuid4().hex[:12]}"
    sku = world.product(price=PRICE)
    _categorize(world, category, sku)
    order_id = world.buy(customer, sku, 2)
    assert world.outcome(customer, order_id) == "confirmed"
    _summed_up(world, lambda: _board(world, category=category), lambda found: found == [(sku, 2)], "the best seller of the category")
    minute = timestamp(next(one.occurred_at for one in world.log(order_id) if one.type == "OrderConfirmed"))[:16]
    for page in world.dynamodb.query(
        TableName=world.table("AnalyticsSums"),
        KeyConditionExpression="#period = :minute",
        ExpressionAttributeNames={"#period": "period"},
        ExpressionAttributeValues={":minute": {"S": minute}},
    )["Items"]:
        world.dynamodb.delete_item(TableName=world.table("AnalyticsSums"), Key={name: page[name] for name in ("period", "place")})

    for _ in range(2):
        replay.replay(world.target, since, rule="AnalyticsCountRule")
        world.queue_drained("AnalyticsCountQueueUrl")

    _summed_up(world, lambda: _board(world, category=category), lambda found: found == [(sku, 2)], "the same after a replay")


def test_a_minute_comes_to_what_happened_in_it(world: World):
    customer, sku = world.customer(), world.product(price=PRICE, currency="SEK")
    order_id = world.buy(customer, sku, 3)
    assert world.outcome(customer, order_id) == "confirmed"
    (confirmed,) = [one for one in world.log(order_id) if one.type == "OrderConfirmed"]
    minute = timestamp(confirmed.occurred_at)[:16]

    def revenue() -> list[int]:
        sales = _ask(world, "sales", **{"per": "minute", "from": minute, "to": minute})["sales"]
        assert {one["period"] for one in sales} <= {minute}
        return [money["amount"] for one in sales for money in one["revenue"] if money["currency"] == "SEK"]

    assert sum(_summed_up(world, revenue, bool, f"the revenue of {minute}")) % (3 * PRICE) == 0
