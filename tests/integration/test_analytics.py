"""Analytics count and rank each sale once, however often its events are delivered, and answer staff only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from orderflow.aws.dynamodb import timestamp
from orderflow.domain import events
from tests.integration.deployed_stack import DeployedStack, eventually

PRICE = 1250
# A currency that no other test uses.
CURRENCY = "DKK"


def _day(stack: DeployedStack) -> dict[str, Any]:
    """The sums of all days in the currency of this test."""
    found: dict[str, Any] = {"revenue": 0, "orders": 0, "payment_declined": 0, "stock_outs": 0}
    for one in stack.analytics("sales")["sales"]:
        found["revenue"] += sum(money["amount"] for money in one["revenue"] if money["currency"] == CURRENCY)
        found["orders"] += one["orders"]
        found["stock_outs"] += one["stock_outs"]
        found["payment_declined"] += sum(end["orders"] for end in one["outcomes"] if end["outcome"] == "payment_declined")
    return found


def _aggregated[T](stack: DeployedStack, look: Callable[[], T], holds: Callable[[T], object], what: str) -> T:
    def found() -> T:
        stack.invoke("AnalyticsAggregate", {})
        return look()

    return eventually(found, holds, within=stack.patience, what=what)


def _deliver_again(stack: DeployedStack, order_ids: list[str]) -> None:
    """Send the orders' events to the queue again, newest first, and the first five twice."""
    for order_id in order_ids:
        bodies = [json.dumps({"detail-type": one.type, "detail": json.loads(events.encode(one))}) for one in stack.log(order_id)]
        entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate([*bodies[::-1][:5], *bodies[:5]])]
        url = stack.target.resources["AnalyticsCountQueue"]
        assert not stack.target.client("sqs").send_message_batch(QueueUrl=url, Entries=entries).get("Failed")


def test_each_sale_is_counted_and_ranked_once(stack: DeployedStack):
    customer, category = stack.customer(), f"c-{uuid4().hex[:12]}"
    best, second, declined = stack.products(3, price=PRICE, currency=CURRENCY)
    [short] = stack.products(1, stock=4, price=PRICE, currency=CURRENCY)
    stack.categorize(category, best, second, declined)
    stack.invoke("AnalyticsAggregate", {})
    before = _day(stack)

    order_ids = list[str]()
    for sku, quantity in ((best, 2), (second, 1), (best, 1)):
        order_ids.append(stack.buy(customer, sku, quantity))
        assert stack.outcome(customer, order_ids[-1]) == "confirmed"
    assert stack.outcome(customer, stack.buy(customer, declined, payment="tok_declined")) == "rejected: payment_declined"
    assert stack.outcome(customer, stack.buy(customer, short, 5)) == "rejected: out_of_stock"

    wanted = [(best, 3), (second, 1)]
    _aggregated(stack, lambda: stack.best_sellers(category=category), lambda found: found == wanted, "the best sellers of the category")
    day = timestamp(stack.log(order_ids[0])[0].occurred_at)[:10]
    assert stack.best_sellers(category=category, limit="1") == wanted[:1]
    assert {*stack.best_sellers(day=day, category=category), *stack.best_sellers(day=day, limit="100")} >= {(best, 3)}
    # Other tests add orders that have no revenue in this currency.
    least = {"revenue": 4 * PRICE, "orders": 5, "payment_declined": 1, "stock_outs": 1}
    after = _aggregated(
        stack,
        lambda: _day(stack),
        lambda found: all(found[name] - before[name] >= by for name, by in least.items()),
        "the sums of the days",
    )
    assert after["revenue"] - before["revenue"] == 4 * PRICE

    _deliver_again(stack, order_ids)
    stack.queue_drained("AnalyticsCountQueue")
    stack.invoke("AnalyticsAggregate", {})
    assert stack.best_sellers(category=category) == wanted
    assert _day(stack)["revenue"] == after["revenue"]
    assert stack.peek("AnalyticsCountDeadLetters") == []


def test_revenue_by_minute_matches_its_events(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product(price=PRICE, currency="SEK")
    order_id = stack.buy(customer, sku, 3)
    assert stack.outcome(customer, order_id) == "confirmed"
    (confirmed,) = [one for one in stack.log(order_id) if one.type == "OrderConfirmed"]
    minute = timestamp(confirmed.occurred_at)[:16]

    def revenue() -> list[int]:
        sales = stack.analytics("sales", **{"per": "minute", "from": minute, "to": minute})["sales"]
        assert {one["period"] for one in sales} <= {minute}
        return [money["amount"] for one in sales for money in one["revenue"] if money["currency"] == "SEK"]

    assert sum(_aggregated(stack, revenue, bool, f"the revenue of {minute}")) % (3 * PRICE) == 0
