"""Summing up: from what was counted to minutes, from those to hours, days, months and all, and to leaderboards.

Whatever ends it half way, what was not summed up yet is still there, and doing it again comes to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from msgspec import Struct

from analytics import rules
from analytics.store import Changed

if TYPE_CHECKING:
    from analytics.rules import Count
    from analytics.store import Analytics, Page

# So much is summed up at once, a page at the least, and so many times in one run. A replay may bring a page of very many minutes.
_PAGES = 50
_MINUTES = 200
_ROUNDS = 50


class Recalculated(Struct, frozen=True):
    """What was done: how many events were brought in, of how many minutes."""

    events: int
    minutes: int


def run(analytics: Analytics, goes_on: Callable[[], bool]) -> Recalculated:
    """Bring everything that was counted into the sums, for as long as it `goes_on` and no other run is doing the same.

    Nothing is lost where it ends early: the next run goes on with it.
    """
    events = minutes = 0
    for _ in range(_ROUNDS):
        pages = _bounded(analytics.new(_PAGES)) if goes_on() else []
        if not pages:
            break
        counts = [count for page in pages for count in page.counts]
        by_minute = {minute: list(some) for minute, some in groupby(sorted(counts, key=_minute), _minute)}
        for minute, some in by_minute.items():
            analytics.keep(minute, some)
        try:
            _sum_up(analytics, by_minute)
        except Changed:
            break
        for page in pages:
            analytics.done(page)
        events, minutes = events + len(counts), minutes + len(by_minute)
    return Recalculated(events, minutes)


def _bounded(pages: Sequence[Page]) -> list[Page]:
    bounded: list[Page] = []
    minutes = set[str]()
    for page in pages:
        minutes |= {count.minute for count in page.counts}
        if bounded and len(minutes) > _MINUTES:
            break
        bounded.append(page)
    return bounded


def _minute(count: Count) -> str:
    return count.minute


def _sum_up(analytics: Analytics, minutes: Iterable[str]) -> None:
    for period in rules.with_parents(minutes):
        before = analytics.sum(period)
        if len(period) == rules.MINUTE:
            counters = rules.totals(analytics.counted(period))
        else:
            counters = rules.added(part.counters for part in analytics.parts(period))
        now = analytics.replace(before, counters)
        if len(period) == rules.DAY or period == rules.ALL:
            for category, ranks in rules.leaderboards(counters).items():
                analytics.rank(now, category, ranks)
