"""Which event counts as what, and in which minute: pure rules.

Everything is a counter, a name with a whole number, and sums of counters are all there is: what an event counts as never
depends on another one. So the events may come in any order, and only which ones they are matters, by their ids.

| counter | counts |
|---|---|
| `orders` | orders that were placed |
| `outcome/<outcome>` | orders that were confirmed, cancelled before that, or rejected for this reason: each order once |
| `cancelled_later` | orders that were cancelled after they had been confirmed |
| `revenue/<currency>` | minor units of what was confirmed, whatever becomes of it |
| `refunds/<currency>` | minor units of what was paid back, less refunds that failed later |
| `stock_outs` | orders that stock could not cover |
| `units/<category>/<sku>` | units of a product that were confirmed |
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
# Lengths of the periods' names: each is the beginning of those in it, 2026-11-21T12:46, 2026-11-21T12, 2026-11-21, 2026-11.
MINUTE, HOUR, DAY, MONTH = 16, 13, 10, 7


class Count(Struct, frozen=True):
    """What one event counts as, in the minute (UTC) in which it occurred."""

    event_id: str
    minute: str
    counters: Counters


class Rank(Struct, frozen=True):
    """A product of a leaderboard, and how many of it were sold."""

    sku: str
    units: int


def count_event(event: Event) -> Count:
    """Return what an event counts as; nothing for one that does not count."""
    return Count(event.event_id, f"{event.occurred_at.astimezone(UTC):%Y-%m-%dT%H:%M}", _counters(event.data))


def _counters(fact: EventData) -> Counters:
    match fact:
        case events.OrderPlaced():
            return {"orders": 1}
        case events.OrderConfirmed():
            units = sum_counters({f"units/{line.category or ''}/{line.sku}": line.quantity} for line in fact.lines)
            return {"outcome/confirmed": 1, f"revenue/{fact.total.currency}": fact.total.amount, **units}
        case events.OrderRejected():
            return {f"outcome/{fact.reason}": 1}
        case events.OrderCancelled():
            return {"cancelled_later": 1} if fact.confirmed else {"outcome/cancelled": 1}
        case events.StockReservationFailed():
            return {"stock_outs": 1}
        case events.PaymentRefunded():
            return {f"refunds/{fact.amount.currency}": fact.amount.amount}
        case events.PaymentRefundReversed():
            return {f"refunds/{fact.amount.currency}": -fact.amount.amount}
        case _:
            return {}


def sum_counters(some: Iterable[Mapping[str, int]]) -> Counters:
    """Return the sums of counters."""
    sums: Counters = {}
    for counters in some:
        for name, value in counters.items():
            sums[name] = sums.get(name, 0) + value
    return sums


def parent(period: str) -> str:
    """Return the period that lists a minute or day: its hour, its month."""
    return period[: {MINUTE: HOUR, DAY: MONTH}[len(period)]]


def by_period(counts: Iterable[Count]) -> dict[str, Counters]:
    """Return what events come to in each of their minutes and days, and in all."""
    found: dict[str, list[Counters]] = {}
    for one in counts:
        for period in (one.minute, one.minute[:DAY], ALL):
            found.setdefault(period, []).append(one.counters)
    return {period: sum_counters(some) for period, some in sorted(found.items())}


def below(counters: Mapping[str, int], name: str) -> Counters:
    """Return the counters below a name, named by what follows it: the currencies of `revenue`."""
    return {rest: value for key, value in counters.items() if (rest := key.removeprefix(f"{name}/")) != key}


def without_units(counters: Mapping[str, int]) -> Counters:
    """Return the counters that are not of products."""
    return {name: value for name, value in counters.items() if not name.startswith("units/")}


def units(counters: Mapping[str, int]) -> Units:
    """Return the counters of products."""
    found: Units = {}
    for name, number in below(counters, "units").items():
        category, _, sku = name.partition("/")
        found.setdefault(sku, {})[category] = number
    return found


def by_category(sold: Units) -> dict[str, Counters]:
    """Return the units of products in each category that they were sold in, and under "" in all."""
    found: dict[str, Counters] = {"": {sku: sum(units.values()) for sku, units in sold.items()}}
    for sku, some in sold.items():
        for category, number in some.items():
            if category:
                found.setdefault(category, {})[sku] = number
    return found


def best_sellers(before: Iterable[Rank], sold: Mapping[str, int]) -> tuple[Rank, ...]:
    """Return the best sellers after some products were sold, of which these are all units; of equal ones by name.

    Units never become fewer, so a product that is not among the best and was not sold since cannot be among them now.
    """
    known = {one.sku: one.units for one in before}
    board = known | {sku: max(number, known.get(sku, 0)) for sku, number in sold.items()}
    ranked = sorted(board.items(), key=lambda one: (-one[1], one[0]))
    return tuple(Rank(sku, number) for sku, number in ranked[:LEADERBOARD_SIZE])
