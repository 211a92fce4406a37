"""The counters of each event and its minute: pure rules.

A counter is a name with a whole number. The counters of an event never depend on another event, and totals are sums of counters,
so events may arrive in any order.

| counter | counts |
|---|---|
| `orders` | placed orders |
| `outcome/<outcome>` | orders that were confirmed, cancelled before confirmation, or rejected for this reason: each order once |
| `cancelled_later` | orders cancelled after their confirmation |
| `revenue/<currency>` | minor units of confirmed orders, including orders cancelled later |
| `refunds/<currency>` | minor units of refunds, less refunds that failed later |
| `stock_outs` | orders without sufficient stock |
| `units/<category>/<sku>` | units of a product in confirmed orders |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.domain import events

if TYPE_CHECKING:
    from orderflow.domain.events import Event, EventData

type Counters = dict[str, int]
# Units by product and category.
type Units = dict[str, Counters]

ALL = "all"
LEADERBOARD_SIZE = 100
# Lengths of period names; a name is a prefix of the names within it: 2026-11-21T12:46, 2026-11-21T12, 2026-11-21, 2026-11.
MINUTE, HOUR, DAY, MONTH = 16, 13, 10, 7


class Count(Struct, frozen=True):
    """The counters of one event, in the minute (UTC) in which it occurred."""

    event_id: str
    minute: str
    counters: Counters


class Rank(Struct, frozen=True):
    """A product of a leaderboard and its sold units."""

    sku: str
    units: int


def count_event(event: Event) -> Count:
    """Return the count of an event; its counters are empty for an event that is not counted."""
    return Count(event.event_id, f"{event.occurred_at.astimezone(UTC):%Y-%m-%dT%H:%M}", _counters(event.data))


def _counters(data: EventData) -> Counters:
    match data:
        case events.OrderPlaced():
            return {"orders": 1}
        case events.OrderConfirmed():
            units = sum_counters({f"units/{line.category or ''}/{line.sku}": line.quantity} for line in data.lines)
            return {"outcome/confirmed": 1, f"revenue/{data.total.currency}": data.total.amount, **units}
        case events.OrderRejected():
            return {f"outcome/{data.reason}": 1}
        case events.OrderCancelled():
            return {"cancelled_later": 1} if data.confirmed else {"outcome/cancelled": 1}
        case events.StockReservationFailed():
            return {"stock_outs": 1}
        case events.PaymentRefunded():
            return {f"refunds/{data.amount.currency}": data.amount.amount}
        case events.PaymentRefundReversed():
            return {f"refunds/{data.amount.currency}": -data.amount.amount}
        case _:
            return {}


def sum_counters(some: Iterable[Mapping[str, int]]) -> Counters:
    """Return the sum of counters by name."""
    sums: Counters = {}
    for counters in some:
        for name, value in counters.items():
            sums[name] = sums.get(name, 0) + value
    return sums


def parent(period: str) -> str:
    """Return the parent period: the hour of a minute, the month of a day."""
    return period[: {MINUTE: HOUR, DAY: MONTH}[len(period)]]


def by_period(counts: Iterable[Count]) -> dict[str, Counters]:
    """Return the counters of counts by minute, by day, and for all times."""
    found: dict[str, list[Counters]] = {}
    for one in counts:
        for period in (one.minute, one.minute[:DAY], ALL):
            found.setdefault(period, []).append(one.counters)
    return {period: sum_counters(some) for period, some in sorted(found.items())}


def below(counters: Mapping[str, int], name: str) -> Counters:
    """Return the counters below a name, by the rest of their names: the currencies of `revenue`."""
    return {rest: value for key, value in counters.items() if (rest := key.removeprefix(f"{name}/")) != key}


def without_units(counters: Mapping[str, int]) -> Counters:
    """Return the counters without those of products."""
    return {name: value for name, value in counters.items() if not name.startswith("units/")}


def units(counters: Mapping[str, int]) -> Units:
    """Return the units by product and category."""
    found: Units = {}
    for name, number in below(counters, "units").items():
        category, _, sku = name.partition("/")
        found.setdefault(sku, {})[category] = number
    return found


def by_category(sold: Units) -> dict[str, Counters]:
    """Return the units of products by category, and under "" those of all categories."""
    found: dict[str, Counters] = {"": {sku: sum(units.values()) for sku, units in sold.items()}}
    for sku, some in sold.items():
        for category, number in some.items():
            if category:
                found.setdefault(category, {})[sku] = number
    return found


def best_sellers(before: Iterable[Rank], sold: Mapping[str, int]) -> tuple[Rank, ...]:
    """Return the best sellers, given the previous ones and all units of the products sold since; equal products by name.

    Units never decrease, so a product outside the previous ranks that was not sold since cannot enter them.
    """
    known = {one.sku: one.units for one in before}
    board = known | {sku: max(number, known.get(sku, 0)) for sku, number in sold.items()}
    ranked = sorted(board.items(), key=lambda one: (-one[1], one[0]))
    return tuple(Rank(sku, number) for sku, number in ranked[:LEADERBOARD_SIZE])
