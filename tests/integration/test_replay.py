"""A replay from the archive: what is kept current is as it was, nobody is told, charged or sent anything again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from analytics.domain import counting_rules
from analytics.store import Analytics
from devtools.cli import UserError
from devtools.local.api_client import order_body
from devtools.local.carrier import Carrier
from devtools.ops import replay
from orderflow.domain import events
from tests.integration.world import World, eventually

PRICE, STOCK = 1250, 100
QUEUES = ("OrderViewQueue", "LedgerQueue", "LoyaltyAwardQueue", "AnalyticsCountQueue")
# What only an event that is no replay wakes.
SILENT_QUEUES = ("MailQueue", "InvoicesIssueQueue", "PaymentsSettleQueue", "ShippingRequestQueue", "ReviewsCloseQueue")
# A whole life, or a message whose first delivery failed.
SECONDS = 240.0


@dataclass(frozen=True)
class Lives:
    """Orders of one product by one customer, each at another end, and when the first was placed."""

    customer: str
    sku: str
    category: str
    orders: tuple[str, ...]
    since: datetime


@pytest.fixture(scope="module")
def lives(world: World) -> Lives:
    """An order that was refused, one that was confirmed, one on its way, and one of which a parcel was lost and paid back."""
    since, category = datetime.now(UTC), f"c-{uuid4().hex[:12]}"
    customer, sku, carrier = world.customer(), world.product(STOCK, price=PRICE), Carrier(world.target, timeout=60)
    world.categorize(category, sku)
    refused = world.buy(customer, sku, payment="tok_declined")
    confirmed, shipped, lost = (world.accept(customer, order_body((sku, quantity))) for quantity in (1, 2, 3))
    _has(world, refused, "OrderRejected")
    for order_id in (confirmed, shipped, lost):
        _has(world, order_id, "ShipmentRequested", "InvoiceIssued")
    parcels = {order_id: carrier.dispatch(order_id) for order_id in (shipped, lost)}
    for order_id in (shipped, lost):
        _has(world, order_id, "PaymentCaptured")
    carrier.lose(lost, parcels[lost])
    _has(world, lost, "PaymentRefunded", "CreditNoteIssued")
    found = Lives(customer, sku, category, (refused, confirmed, shipped, lost), since)
    _waited_for(world, found, {refused: "rejected", confirmed: "confirmed", shipped: "dispatched", lost: "lost"})
    return found


def _waited_for(world: World, lives: Lives, states: dict[str, str]) -> None:
    """Wait until all that follows the orders beside their log has come about."""

    def expect(what: str, expected: object, look: Callable[[], object]) -> None:
        eventually(look, lambda seen: seen == expected, within=SECONDS, what=what)

    expect("the list", states, lambda: {order["order_id"]: order["state"] for order in _list(world, lives.customer)})
    expect("the books", set[str](), lambda: set[str]().union(*(_unposted(world, order_id) for order_id in lives.orders)))
    expect("the points", PRICE // 100 + 2 * PRICE // 100, lambda: _points(world, lives.customer))
    expect("the best seller", [(lives.sku, 1 + 2 + 3)], lambda: _summed_up(world, lives)[0])
    expect("what is counted", _counting(world, lives), lambda: _summed_up(world, lives)[1])
    # What is left to ship of the confirmed order; the parcels are gone.
    expect("the stock", (STOCK - 1 - 2 - 3, 1), lambda: world.stock(lives.sku))
    # Rejected; confirmed; confirmed and left; confirmed, left and paid back.
    expect("the mails", [1, 1, 2, 3], lambda: [len(world.sent(order_id)) for order_id in lives.orders])


def _has(world: World, order_id: str, *wanted: str) -> None:
    eventually(
        lambda: {event.type for event in world.log(order_id)},
        lambda types: set(wanted) <= types,
        within=SECONDS,
        what=f"{', '.join(wanted)} of {order_id}",
    )


def _unposted(world: World, order_id: str) -> set[str]:
    moves = {"PaymentAuthorized", "PaymentVoided", "PaymentCaptured", "PaymentRefunded"}
    return {event.event_id for event in world.log(order_id) if event.type in moves} - world.entries(order_id).keys()


def _list(world: World, customer: str) -> list[dict[str, Any]]:
    answer = world.shop.call("GET", "/orders", customer)
    assert answer.status == 200, answer
    return answer.json()["orders"]


def _points(world: World, customer: str) -> int:
    return world.shop.call("GET", "/points", customer).json()["points"]


def _summed_up(world: World, lives: Lives) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """What sells best of the category, and what is counted by event id, once everything that was counted is summed up."""
    world.invoke("AnalyticsAggregate", {})
    counted = {
        one.event_id: one
        for minute in _minutes(world, lives)
        for one in Analytics(world.table("AnalyticsSums"), world.dynamodb).counted(minute)
    }
    own = {event_id: one for event_id, one in counted.items() if event_id.startswith(lives.orders)}
    return world.best_sellers(category=lives.category), own


def _counting(world: World, lives: Lives) -> dict[str, Any]:
    """What the events count as by their ids, those that count."""
    counts = [counting_rules.count(event) for order_id in lives.orders for event in world.log(order_id)]
    return {one.event_id: one for one in counts if one.counters}


def _minutes(world: World, lives: Lives) -> list[str]:
    return sorted({one.minute for one in _counting(world, lives).values()})


def _sums(world: World, lives: Lives) -> list[dict[str, Any]]:
    """What the minutes of these orders come to, other orders of the same minutes included."""
    minutes = _minutes(world, lives)
    return world.analytics("sales", **{"per": "minute", "from": minutes[0], "to": minutes[-1]})["sales"]


def _items(world: World, table: str, of: str, among: tuple[str, ...]) -> list[str]:
    """The rows of a table in which an attribute begins with one of these."""
    rows = (item for item in world.scan(table) if item.get(of, {}).get("S", "").startswith(among))
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def _state(world: World, lives: Lives) -> dict[str, Any]:
    """All that the stack, the payment provider and the carrier have of these orders."""
    return {
        "log": [events.encode(event) for order_id in lives.orders for event in world.log(order_id)],
        "list": _items(world, "OrderView", "customer_id", (lives.customer,)),
        "points": _items(world, "LoyaltyPoints", "customer_id", (lives.customer,)),
        "books": _items(world, "LedgerEntries", "order_id", lives.orders),
        "invoices": _items(world, "Invoices", "order_id", lives.orders),
        "payments": _items(world, "SandboxPayments", "key", lives.orders),
        "shipments": _items(world, "SandboxShipments", "shipment_id", lives.orders),
        "stock": world.stock(lives.sku),
        "what is sold": _summed_up(world, lives),
        "what the minutes come to": _sums(world, lives),
        "mails": sorted(mail["Subject"] for order_id in lives.orders for mail in world.sent(order_id)),
    }


def _replayed(world: World, lives: Lives) -> None:
    """Replay what happened since the orders were placed, and wait until all of it was worked off."""
    replay.replay(world.target, lives.since)
    _worked_off(world)


def _worked_off(world: World) -> None:
    for queue in (*QUEUES, *SILENT_QUEUES):
        eventually(lambda queue=queue: world.queue_depth(queue), lambda depth: depth == 0, within=SECONDS, what=f"{queue} is empty")


@pytest.mark.needs("replay")
def test_everything_replayed_twice_changes_nothing_and_tells_nobody(world: World, lives: Lives):
    before = _state(world, lives)
    assert all(before.values()), before

    _replayed(world, lives)
    _replayed(world, lives)

    assert _state(world, lives) == before


@pytest.mark.needs("replay")
def test_make_replay_makes_again_from_the_archive_what_was_dropped(world: World, lives: Lives, monkeypatch: pytest.MonkeyPatch):
    before, answered, points = _state(world, lives), _list(world, lives.customer), _points(world, lives.customer)
    _drop(world, "OrderView", ("customer_id", "place"), lambda row: row["customer_id"]["S"] == lives.customer)
    _drop(world, "LoyaltyPoints", ("customer_id", "entry"), lambda row: row["customer_id"]["S"] == lives.customer)
    assert (_list(world, lives.customer), _points(world, lives.customer)) == ([], 0)

    # Other orders were placed in the same minute.
    monkeypatch.setenv("FROM", f"{lives.since:%Y-%m-%dT%H:%M}:00Z")
    replay.main()
    _worked_off(world)

    assert _state(world, lives) == before
    assert (_list(world, lives.customer), _points(world, lives.customer)) == (answered, points)


def _drop(world: World, table: str, key: tuple[str, str], dropped: Callable[[dict[str, Any]], bool]) -> None:
    for row in list(filter(dropped, world.scan(table))):
        world.dynamodb.delete_item(TableName=world.table(table), Key={name: row[name] for name in key})


@pytest.mark.needs("replay")
def test_only_what_takes_replays_can_be_replayed_to(world: World, lives: Lives):
    with pytest.raises(UserError, match=r"LedgerRule, LoyaltyAwardRule, .*OrderViewRule.*not .NotificationsRule."):
        replay.replay(world.target, lives.since, rule="NotificationsRule")
