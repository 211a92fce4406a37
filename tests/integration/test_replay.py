"""A replay from the archive leaves projections unchanged and repeats no email, charge or shipment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from analytics.domain import counting_rules
from analytics.store import AnalyticsStore
from devtools.cli import UserError
from devtools.commands import parsed
from devtools.local.api_client import order_body
from devtools.local.carrier import Carrier
from devtools.ops import replay
from orderflow.domain import events
from tests.integration.deployed_stack import DeployedStack, eventually

PRICE, STOCK = 1250, 100
QUEUES = ("OrderViewQueue", "LedgerQueue", "LoyaltyAwardQueue", "AnalyticsCountQueue")
# Queues of consumers with side effects, which replays do not reach.
SILENT_QUEUES = ("MailQueue", "InvoicesIssueQueue", "PaymentsSettleQueue", "ShippingRequestQueue", "ReviewsCloseQueue")
# Seconds for an order from placing to refund, or for a redelivery.
SECONDS = 240.0


@dataclass(frozen=True)
class CompletedOrders:
    """A customer's orders of one product with different outcomes, and the time of the first."""

    customer: str
    sku: str
    category: str
    orders: tuple[str, ...]
    since: datetime


@pytest.fixture(scope="module")
def completed(stack: DeployedStack) -> CompletedOrders:
    """A rejected, a confirmed, a dispatched and a lost and refunded order."""
    since, category = datetime.now(UTC), f"c-{uuid4().hex[:12]}"
    customer, sku, carrier = stack.customer(), stack.product(STOCK, price=PRICE), Carrier(stack.target, timeout=60)
    stack.categorize(category, sku)
    refused = stack.buy(customer, sku, payment="tok_declined")
    confirmed, shipped, lost = (stack.accept(customer, order_body((sku, quantity))) for quantity in (1, 2, 3))
    _has(stack, refused, "OrderRejected")
    for order_id in (confirmed, shipped, lost):
        _has(stack, order_id, "ShipmentRequested", "InvoiceIssued")
    parcels = {order_id: carrier.dispatch(order_id) for order_id in (shipped, lost)}
    for order_id in (shipped, lost):
        _has(stack, order_id, "PaymentCaptured")
    carrier.lose(lost, parcels[lost])
    _has(stack, lost, "PaymentRefunded", "CreditNoteIssued")
    found = CompletedOrders(customer, sku, category, (refused, confirmed, shipped, lost), since)
    _wait_for_consumers(stack, found, {refused: "rejected", confirmed: "confirmed", shipped: "dispatched", lost: "lost"})
    return found


def _wait_for_consumers(stack: DeployedStack, completed: CompletedOrders, states: dict[str, str]) -> None:
    """Wait until all consumers have processed the orders."""

    def expect(what: str, expected: object, look: Callable[[], object]) -> None:
        eventually(look, lambda seen: seen == expected, within=SECONDS, what=what)

    expect("the list", states, lambda: {order["order_id"]: order["state"] for order in _list(stack, completed.customer)})
    expect("the ledger", set[str](), lambda: set[str]().union(*(_unposted(stack, order_id) for order_id in completed.orders)))
    expect("the points", PRICE // 100 + 2 * PRICE // 100, lambda: _points(stack, completed.customer))
    expect("the best seller", [(completed.sku, 1 + 2 + 3)], lambda: _aggregated(stack, completed)[0])
    expect("the counts", _counting(stack, completed), lambda: _aggregated(stack, completed)[1])
    # One unit of the confirmed order is reserved; the parcels have left.
    expect("the stock", (STOCK - 1 - 2 - 3, 1), lambda: stack.stock(completed.sku))
    # Rejected; confirmed; confirmed and dispatched; confirmed, dispatched and refunded.
    expect("the emails", [1, 1, 2, 3], lambda: [len(stack.sent(order_id)) for order_id in completed.orders])


def _has(stack: DeployedStack, order_id: str, *wanted: str) -> None:
    eventually(
        lambda: {event.type for event in stack.log(order_id)},
        lambda types: set(wanted) <= types,
        within=SECONDS,
        what=f"{', '.join(wanted)} of {order_id}",
    )


def _unposted(stack: DeployedStack, order_id: str) -> set[str]:
    moves = {"PaymentAuthorized", "PaymentVoided", "PaymentCaptured", "PaymentRefunded"}
    return {event.event_id for event in stack.log(order_id) if event.type in moves} - stack.entries(order_id).keys()


def _list(stack: DeployedStack, customer: str) -> list[dict[str, Any]]:
    answer = stack.shop.call("GET", "/orders", customer)
    assert answer.status == 200, answer
    return answer.json()["orders"]


def _points(stack: DeployedStack, customer: str) -> int:
    return stack.shop.call("GET", "/points", customer).json()["points"]


def _aggregated(stack: DeployedStack, completed: CompletedOrders) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """The category's best sellers and the counts by event id, after aggregation."""
    stack.invoke("AnalyticsAggregate", {})
    counted = {
        one.event_id: one
        for minute in _minutes(stack, completed)
        for one in AnalyticsStore(stack.table("AnalyticsSums"), stack.dynamodb).counted(minute)
    }
    own = {event_id: one for event_id, one in counted.items() if event_id.startswith(completed.orders)}
    return stack.best_sellers(category=completed.category), own


def _counting(stack: DeployedStack, completed: CompletedOrders) -> dict[str, Any]:
    """The expected counts by event id."""
    counts = [counting_rules.count_event(event) for order_id in completed.orders for event in stack.log(order_id)]
    return {one.event_id: one for one in counts if one.counters}


def _minutes(stack: DeployedStack, completed: CompletedOrders) -> list[str]:
    return sorted({one.minute for one in _counting(stack, completed).values()})


def _sums(stack: DeployedStack, completed: CompletedOrders) -> list[dict[str, Any]]:
    """The sums of the orders' minutes, including other orders of these minutes."""
    minutes = _minutes(stack, completed)
    return stack.analytics("sales", **{"per": "minute", "from": minutes[0], "to": minutes[-1]})["sales"]


def _items(stack: DeployedStack, table: str, of: str, among: tuple[str, ...]) -> list[str]:
    """The rows of a table whose attribute starts with one of the prefixes."""
    rows = (item for item in stack.scan(table) if item.get(of, {}).get("S", "").startswith(among))
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def _state(stack: DeployedStack, completed: CompletedOrders) -> dict[str, Any]:
    """Return all data of the orders in the stack, at the payment provider and at the carrier."""
    return {
        "log": [events.encode(event) for order_id in completed.orders for event in stack.log(order_id)],
        "list": _items(stack, "OrderView", "customer_id", (completed.customer,)),
        "points": _items(stack, "LoyaltyPoints", "customer_id", (completed.customer,)),
        "ledger": _items(stack, "LedgerEntries", "order_id", completed.orders),
        "invoices": _items(stack, "Invoices", "order_id", completed.orders),
        "payments": _items(stack, "SandboxPayments", "key", completed.orders),
        "shipments": _items(stack, "SandboxShipments", "shipment_id", completed.orders),
        "stock": stack.stock(completed.sku),
        "best sellers and counts": _aggregated(stack, completed),
        "sums by minute": _sums(stack, completed),
        "emails": sorted(json.dumps(email, sort_keys=True) for order_id in completed.orders for email in stack.sent(order_id)),
    }


def _replayed(stack: DeployedStack, completed: CompletedOrders) -> None:
    """Replay the events since the orders were placed, and wait until they are processed."""
    replay.replay(stack.target, completed.since)
    _queues_empty(stack)


def _queues_empty(stack: DeployedStack) -> None:
    for queue in (*QUEUES, *SILENT_QUEUES):
        eventually(lambda queue=queue: stack.queue_depth(queue), lambda depth: depth == 0, within=SECONDS, what=f"{queue} is empty")


@pytest.mark.needs("replay")
def test_replaying_everything_twice_changes_nothing(stack: DeployedStack, completed: CompletedOrders):
    before = _state(stack, completed)
    assert all(before.values()), before

    _replayed(stack, completed)
    _replayed(stack, completed)

    assert _state(stack, completed) == before


@pytest.mark.needs("replay")
def test_replay_restores_deleted_rows_from_the_archive(stack: DeployedStack, completed: CompletedOrders):
    before, listed, points = _state(stack, completed), _list(stack, completed.customer), _points(stack, completed.customer)
    _drop(stack, "OrderView", ("customer_id", "place"), lambda row: row["customer_id"]["S"] == completed.customer)
    _drop(stack, "LoyaltyPoints", ("customer_id", "entry"), lambda row: row["customer_id"]["S"] == completed.customer)
    assert (_list(stack, completed.customer), _points(stack, completed.customer)) == ([], 0)

    # Other orders were placed in the same minute.
    replay.main(parsed("replay", "--from", f"{completed.since:%Y-%m-%dT%H:%M}:00Z"))
    _queues_empty(stack)

    assert _state(stack, completed) == before
    assert (_list(stack, completed.customer), _points(stack, completed.customer)) == (listed, points)


def _drop(stack: DeployedStack, table: str, key: tuple[str, str], dropped: Callable[[dict[str, Any]], bool]) -> None:
    for row in list(filter(dropped, stack.scan(table))):
        stack.dynamodb.delete_item(TableName=stack.table(table), Key={name: row[name] for name in key})


@pytest.mark.needs("replay")
def test_replay_to_a_rule_with_side_effects_is_refused(stack: DeployedStack, completed: CompletedOrders):
    with pytest.raises(UserError, match=r"LedgerRule, LoyaltyAwardRule, .*OrderViewRule.*not .NotificationsRule."):
        replay.replay(stack.target, completed.since, rule="NotificationsRule")
