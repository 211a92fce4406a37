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
from analytics.store import Changed

if TYPE_CHECKING:
    from analytics.domain.counting_rules import Count
    from analytics.store import Analytics, Head, Page

# So many pages, or bytes of them, are read at once, and so many times in one run.
_PAGES = 50
_BYTES = 1_000_000
_ROUNDS = 50
# A batch has so many minutes: its pages fit into a transaction.
_MINUTES = 40
# So many items are looked at at once by a recount.
_ITEMS = 200
# A recount begins when every run that knew nothing of it is over: longer than the function's timeout.
WAIT = timedelta(minutes=5)


class Recalculated(Struct, frozen=True):
    """How many events were brought in, of how many minutes, each as often as there was something new of it."""

    events: int = 0
    minutes: int = 0


def recount(analytics: Analytics, now: datetime) -> bool:
    """Have the next runs make all sums, units and leaderboards again from what was ever counted; tell whether they will.

    For what an older version of this wrote, and for what was damaged.
    """
    try:
        head = analytics.head()
        if head.pages:
            head = _add_up(analytics, head, analytics.of_batch(head))
        analytics.begin_recount(head, now)
    except Changed:
        return False
    return True


def run(analytics: Analytics, now: datetime, goes_on: Callable[[], bool]) -> Recalculated:
    """Bring everything that was counted into the sums, for as long as it `goes_on` and no other run is doing the same.

    Nothing is lost where it ends early: the next run goes on with it.
    """
    done = Recalculated()
    for _ in range(_ROUNDS):
        pages = _bounded(analytics.new(_PAGES)) if goes_on() else []
        if not pages:
            break
        try:
            some = _sum_up(analytics, pages, now, goes_on)
        except Changed:
            break
        if some is None:
            break
        done = Recalculated(done.events + some.events, done.minutes + some.minutes)
    return done


def _bounded(pages: Sequence[Page]) -> list[Page]:
    bounded: list[Page] = []
    size = 0
    for page in pages:
        size += page.size
        if bounded and size > _BYTES:
            break
        bounded.append(page)
    return bounded


def _sum_up(analytics: Analytics, pages: Sequence[Page], now: datetime, goes_on: Callable[[], bool]) -> Recalculated | None:
    """Bring pages into the sums; return None, with nothing done, where a recount has to come to its end before."""
    # Before the pages of any minute: whoever begins a batch meanwhile lets this one's be refused.
    head = analytics.head()
    while head.recount:
        if now - head.recount.since < WAIT or not goes_on():
            return None
        head = analytics.empty(head, _ITEMS)
    if head.pages:
        head = _add_up(analytics, head, analytics.of_batch(head))
    events = minutes = 0
    by_minute: dict[str, dict[str, Count]] = {}
    for count in (count for page in pages for count in page.counts):
        by_minute.setdefault(count.minute, {})[count.event_id] = count
    for some in batched(sorted(by_minute), _MINUTES, strict=False):
        if not goes_on():
            return Recalculated(events, minutes)
        new = {minute: found for minute in some if (found := _new(analytics, minute, by_minute[minute]))}
        if new:
            counts = [count for found in new.values() for count in found]
            head = _add_up(analytics, analytics.begin(head, new), counts)
            events, minutes = events + len(counts), minutes + len(new)
    for page in pages:
        analytics.done(page)
    return Recalculated(events, minutes)


def _new(analytics: Analytics, minute: str, counts: dict[str, Count]) -> list[Count]:
    """Return those of the counts, by event id, that are not in the sums."""
    known = {count.event_id for count in analytics.counted(minute)}
    return [count for event_id, count in counts.items() if event_id not in known]


def _add_up(analytics: Analytics, head: Head, counts: Sequence[Count]) -> Head:
    for period, counters in counting_rules.by_period(counts).items():
        analytics.add_to_sum(head.batch, period, counting_rules.without_units(counters))
        units = counting_rules.units(counters)
        if units and len(period) != counting_rules.MINUTE:
            sold = analytics.add_units(head.batch, period, units)
            for category, some in counting_rules.by_category(sold).items():
                analytics.rank(head.batch, period, category, some)
    return analytics.finish(head)
