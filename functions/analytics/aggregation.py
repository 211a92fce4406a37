"""Aggregation: adds pending counts to the totals of minutes, days and all times, and to leaderboards.

New counts become a batch, which is added to the totals of its minutes and days and to the units of its products, so the cost
depends on the new events and not on the stored data. After a crash the batch is in the journal or its counts are still pending, and
the next run completes it with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING

from msgspec import Struct

from analytics.domain import counting_rules
from analytics.store import ConcurrentUpdate

if TYPE_CHECKING:
    from analytics.domain.counting_rules import Count
    from analytics.items import BatchHead, CountBatch
    from analytics.store import AnalyticsStore

# Pending count batches and their bytes per round, and rounds per run.
_MAX_COUNT_BATCHES = 50
_MAX_BYTES = 1_000_000
_MAX_ROUNDS = 50
# Minutes per batch, so that its count batches fit into a transaction.
_MINUTES_PER_BATCH = 40
# Items per step of a recount.
_ITEMS_PER_RESET = 200
# A recount waits for all runs that began before it: longer than the function's timeout.
RECOUNT_DELAY = timedelta(minutes=5)


class Aggregated(Struct, frozen=True):
    """The number of added events, and of minutes per batch that they belong to."""

    events: int = 0
    minutes: int = 0


def start_recount(analytics: AnalyticsStore, now: datetime) -> bool:
    """Start a recount of all totals, units and leaderboards from the stored counts; return False if another run is active.

    It migrates data of older versions and repairs damaged totals. The next runs perform it.
    """
    try:
        head = analytics.last_batch()
        if head.pages:
            head = _apply(analytics, head, analytics.counts_of_batch(head))
        analytics.begin_recount(head, now)
    except ConcurrentUpdate:
        return False
    return True


def aggregate(analytics: AnalyticsStore, now: datetime, has_time: Callable[[], bool]) -> Aggregated:
    """Add all pending counts to the totals, as long as `has_time` returns True and no other run is active.

    The next run continues after an early end.
    """
    done = Aggregated()
    for _ in range(_MAX_ROUNDS):
        batches = _bounded(analytics.pending(_MAX_COUNT_BATCHES)) if has_time() else []
        if not batches:
            break
        try:
            some = _aggregate(analytics, batches, now, has_time)
        except ConcurrentUpdate:
            break
        if some is None:
            break
        done = Aggregated(done.events + some.events, done.minutes + some.minutes)
    return done


def _bounded(batches: Sequence[CountBatch]) -> list[CountBatch]:
    bounded: list[CountBatch] = []
    size = 0
    for batch in batches:
        size += batch.size
        if bounded and size > _MAX_BYTES:
            break
        bounded.append(batch)
    return bounded


def _aggregate(analytics: AnalyticsStore, batches: Sequence[CountBatch], now: datetime, has_time: Callable[[], bool]) -> Aggregated | None:
    """Add count batches to the totals; return None, without a change, if a recount has to be completed first."""
    # Optimistic lock: read the journal before the counts of any minute.
    head = analytics.last_batch()
    while head.recount:
        if now - head.recount.since < RECOUNT_DELAY or not has_time():
            return None
        head = analytics.reset(head, _ITEMS_PER_RESET)
    if head.pages:
        head = _apply(analytics, head, analytics.counts_of_batch(head))
    events = minutes = 0
    by_minute: dict[str, dict[str, Count]] = {}
    for count in (count for batch in batches for count in batch.counts):
        by_minute.setdefault(count.minute, {})[count.event_id] = count
    for some in batched(sorted(by_minute), _MINUTES_PER_BATCH, strict=False):
        if not has_time():
            return Aggregated(events, minutes)
        new = {minute: found for minute in some if (found := _uncounted(analytics, minute, by_minute[minute]))}
        if new:
            counts = [count for found in new.values() for count in found]
            head = _apply(analytics, analytics.begin_batch(head, new), counts)
            events, minutes = events + len(counts), minutes + len(new)
    for batch in batches:
        analytics.remove_pending(batch)
    return Aggregated(events, minutes)


def _uncounted(analytics: AnalyticsStore, minute: str, counts: dict[str, Count]) -> list[Count]:
    """Return the counts, given by event id, that are not in the totals."""
    known = {count.event_id for count in analytics.counted(minute)}
    return [count for event_id, count in counts.items() if event_id not in known]


def _apply(analytics: AnalyticsStore, head: BatchHead, counts: Sequence[Count]) -> BatchHead:
    for period, counters in counting_rules.by_period(counts).items():
        analytics.add_to_total(head.batch, period, counting_rules.without_units(counters))
        units = counting_rules.units(counters)
        if units and len(period) != counting_rules.MINUTE:
            sold = analytics.add_units(head.batch, period, units)
            for category, some in counting_rules.by_category(sold).items():
                analytics.update_leaderboard(head.batch, period, category, some)
    return analytics.finish_batch(head)
