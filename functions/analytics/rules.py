"""Which event counts as what, and in which minute: pure rules.

Everything is a counter, a name with a whole number, and sums of counters are all there is: what an event counts as never
depends on another one. So the events may come in any order, and only which ones they are matters, by their ids.

| counter | counts |
|---|---|
| `orders` | orders that were placed |
| `outcome/<outcome>` | orders that were confirmed, cancelled before that, or rejected for this reason: each order once |
| `cancelled_later` | orders that were cancelled after they had been confirmed |
| `revenue/<currency>` | minor units of what was confirmed, whatever becomes of it |
| `refunds/<currency>` | minor units of what was paid back |
| `stock_outs` | orders that stock could not cover |
| `units/<category>/<sku>` | units of a product that were confirmed |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow import events

if TYPE_CHECKING:
    from orderflow.events import Event, Fact

type Counters = dict[str, int]

ALL = "all"
TOP = 100
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


def count(event: Event) -> Count:
    """Return what an event counts as; nothing for one that does not count."""
    return Count(event.event_id, f"{event.occurred_at.astimezone(UTC):%Y-%m-%dT%H:%M}", _counters(event.data))


def _counters(fact: Fact) -> Counters:
    match fact:
        case events.OrderPlaced():
            return {"orders": 1}
        case events.OrderConfirmed():
            units = added({f"units/{line.category or ''}/{line.sku}": line.quantity} for line in fact.lines)
            return {"outcome/confirmed": 1, f"revenue/{fact.total.currency}": fact.total.amount, **units}
        case events.OrderRejected():
            return {f"outcome/{fact.reason}": 1}
        case events.OrderCancelled():
            return {"cancelled_later": 1} if fact.confirmed else {"outcome/cancelled": 1}
        case events.StockReservationFailed():
            return {"stock_outs": 1}
        case events.PaymentRefunded():
            return {f"refunds/{fact.amount.currency}": fact.amount.amount}
        case _:
            return {}


def added(some: Iterable[Mapping[str, int]]) -> Counters:
    """Return the sums of counters."""
    sums: Counters = {}
    for counters in some:
        for name, value in counters.items():
            sums[name] = sums.get(name, 0) + value
    return sums


def totals(counts: Iterable[Count]) -> Counters:
    """Return what events come to, each counted once however often it is among them."""
    return added({one.event_id: one.counters for one in counts}.values())


def parent(period: str) -> str:
    """Return the period that one is a part of: of a minute its hour, and so on up to `all`."""
    return period[: {MINUTE: HOUR, HOUR: DAY, DAY: MONTH}[len(period)]] if len(period) > MONTH else ALL


def with_parents(minutes: Iterable[str]) -> Iterator[str]:
    """Yield minutes and every period that they are in, parts before the whole."""
    level = sorted(set(minutes))
    while level:
        yield from level
        level = sorted({parent(period) for period in level if period != ALL})


def part(counters: Mapping[str, int], name: str) -> Counters:
    """Return the counters below a name, named by what follows it: the currencies of `revenue`."""
    return {rest: value for key, value in counters.items() if (rest := key.removeprefix(f"{name}/")) != key}


def leaderboards(counters: Mapping[str, int]) -> dict[str, tuple[Rank, ...]]:
    """Return the best sellers of each category, and under "" those of all, most units first; of equal ones by name."""
    boards: dict[str, Counters] = {"": {}}
    for name, units in part(counters, "units").items():
        category, _, sku = name.partition("/")
        for board in {category, ""}:
            place = boards.setdefault(board, {})
            place[sku] = place.get(sku, 0) + units
    return {category: _ranked(board) for category, board in boards.items()}


def _ranked(board: Counters) -> tuple[Rank, ...]:
    best = sorted(board.items(), key=lambda one: (-one[1], one[0]))
    return tuple(Rank(sku, units) for sku, units in best[:TOP])
