"""Summing up: from what was counted to minutes, days, all and leaderboards.

What is new of the counted events becomes a batch, which is added to the sums of its own minutes and days, and to the units of its own
products: what it costs depends on what happened, not on what there is. Whatever ends it half way, the batch is in the journal, or
what was counted is still there, and doing it again comes to the same.
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
    from analytics.store import AnalyticsStore, BatchHead, CountBatch

# So many pages, or bytes of them, are read at once, and so many times in one run.
_MAX_COUNT_BATCHES = 50
_MAX_BYTES = 1_000_000
_MAX_ROUNDS = 50
# A batch has so many minutes: its pages fit into a transaction.
_MINUTES_PER_BATCH = 40
# So many items are looked at at once by a recount.
_ITEMS_PER_RESET = 200
# A recount begins when every run that knew nothing of it is over: longer than the function's timeout.
RECOUNT_DELAY = timedelta(minutes=5)


class Aggregated(Struct, frozen=True):
    """How many events were brought in, of how many minutes, each as often as there was something new of it."""

    events: int = 0
    minutes: int = 0


def start_recount(analytics: AnalyticsStore, now: datetime) -> bool:
    """Have the next runs make all sums, units and leaderboards again from what was ever counted; tell whether they will.

    For what an older version of this wrote, and for what was damaged.
    """
    try:
        head = analytics.last_batch()
        if head.pages:
            head = _apply(analytics, head, analytics.counts_of_batch(head))
        analytics.begin_recount(head, now)
    except ConcurrentUpdate:
        return False
    return True


def aggregate(analytics: AnalyticsStore, now: datetime, goes_on: Callable[[], bool]) -> Aggregated:
    """Bring everything that was counted into the sums, for as long as it `goes_on` and no other run is doing the same.

    Nothing is lost where it ends early: the next run goes on with it.
    """
    done = Aggregated()
    for _ in range(_MAX_ROUNDS):
        pages = _bounded(analytics.pending(_MAX_COUNT_BATCHES)) if goes_on() else []
        if not pages:
            break
        try:
            some = _aggregate(analytics, pages, now, goes_on)
        except ConcurrentUpdate:
            break
        if some is None:
            break
        done = Aggregated(done.events + some.events, done.minutes + some.minutes)
    return done


def _bounded(pages: Sequence[CountBatch]) -> list[CountBatch]:
    bounded: list[CountBatch] = []
    size = 0
    for page in pages:
        size += page.size
        if bounded and size > _MAX_BYTES:
            break
        bounded.append(page)
    return bounded


def _aggregate(analytics: AnalyticsStore, pages: Sequence[CountBatch], now: datetime, goes_on: Callable[[], bool]) -> Aggregated | None:
    """Bring pages into the sums; return None, with nothing done, where a recount has to come to its end before."""
    # Before the pages of any minute: whoever begins a batch meanwhile lets this one's be refused.
    head = analytics.last_batch()
    while head.recount:
        if now - head.recount.since < RECOUNT_DELAY or not goes_on():
            return None
        head = analytics.reset(head, _ITEMS_PER_RESET)
    if head.pages:
        head = _apply(analytics, head, analytics.counts_of_batch(head))
    events = minutes = 0
    by_minute: dict[str, dict[str, Count]] = {}
    for count in (count for page in pages for count in page.counts):
        by_minute.setdefault(count.minute, {})[count.event_id] = count
    for some in batched(sorted(by_minute), _MINUTES_PER_BATCH, strict=False):
        if not goes_on():
            return Aggregated(events, minutes)
        new = {minute: found for minute in some if (found := _uncounted(analytics, minute, by_minute[minute]))}
        if new:
            counts = [count for found in new.values() for count in found]
            head = _apply(analytics, analytics.begin_batch(head, new), counts)
            events, minutes = events + len(counts), minutes + len(new)
    for page in pages:
        analytics.remove_pending(page)
    return Aggregated(events, minutes)


def _uncounted(analytics: AnalyticsStore, minute: str, counts: dict[str, Count]) -> list[Count]:
    """Return those of the counts, by event id, that are not in the sums."""
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
