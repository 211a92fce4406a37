"""A recount recomputes all totals from the stored count batches, after damage or a change of the layout."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from analytics import aggregation
from analytics.domain import counting_rules
from analytics.handlers import aggregate, count_events
from orderflow.domain.events import Event
from tests.fakes.aws.dynamodb import Crash, crash_at
from tests.fakes.aws.environment import Aws
from tests.support.runtime import CONTEXT
from tests.support.sales import confirmed, event, placed, streamed
from tests.unit.analytics.totals import store, sums

EVENTS = tuple(event(number, confirmed({"MUG": 1, f"CUP-{number}": 2}), 3600 * number) for number in range(30))


def counted() -> Aws:
    aws = Aws()
    aws.lend()
    for begin in range(0, 30, 10):
        count_events.handler(streamed(*EVENTS[begin : begin + 10]), CONTEXT)
        aggregate.handler({}, CONTEXT)
    return aws


def recount(aws: Aws) -> None:
    assert aggregate.handler({"recount": True}, CONTEXT) == {"outcome": "recounting"}
    aggregation.aggregate(store(aws), datetime.now(UTC) + aggregation.RECOUNT_DELAY, lambda: True)


def lose(aws: Aws, chosen: Callable[[str], bool]) -> None:
    """Delete the sums of the chosen periods."""
    for item in aws.dynamodb.items("AnalyticsSums"):
        if chosen(item["period"]["S"]):
            aws.dynamodb.client.delete_item(TableName="AnalyticsSums", Key={"period": item["period"], "place": item["place"]})


def test_recount_reproduces_all_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "_ITEMS_PER_RESET", 7)
    aws = counted()
    wanted = sums(aws)
    recount(aws)
    assert sums(aws) == wanted


def test_recount_restores_lost_sums() -> None:
    aws = counted()
    wanted = sums(aws)
    lose(aws, lambda period: period in {"top", "board", "products/all"})
    assert sums(aws) != wanted
    recount(aws)
    assert sums(aws) == wanted


def test_replay_and_recount_restore_lost_count_batches() -> None:
    aws = counted()
    wanted = sums(aws)
    lose(aws, lambda period: period.startswith("2026-02-01T"))
    count_events.handler(streamed(*EVENTS), CONTEXT)
    aggregate.handler({}, CONTEXT)
    assert sums(aws) != wanted
    recount(aws)
    assert sums(aws) == wanted


def test_older_layout_is_read_and_migrated_by_recount() -> None:
    wanted = sums(counted())
    aws = Aws()
    aws.lend()
    first, rest = EVENTS[:20], EVENTS[20:]
    write_older_layout(aws, first)
    count_events.handler(streamed(*rest, *first[:3]), CONTEXT)
    aggregate.handler({}, CONTEXT)
    assert {place: store(aws).total(place).counters for place in ("all", "2026-01-31", "2026-02-01")} == {
        place: wanted[place] for place in ("all", "2026-01-31", "2026-02-01")
    }
    assert store(aws).leaderboard("all", "")[0] == counting_rules.Rank("MUG", 20)
    recount(aws)
    assert sums(aws) == wanted


def test_recount_waits_for_invocations_in_progress() -> None:
    aws = counted()
    aggregate.handler({"recount": True}, CONTEXT)
    before = aws.dynamodb.items("AnalyticsSums")
    count_events.handler(streamed(event(99, placed())), CONTEXT)
    assert aggregate.handler({}, CONTEXT)["events"] == 0
    assert [item for item in aws.dynamodb.items("AnalyticsSums") if item["period"]["S"] != "new"] == [
        item for item in before if item["period"]["S"] != "new"
    ]


@pytest.mark.parametrize("operation", ["PutItem", "DeleteItem", "Scan", "TransactWriteItems"])
def test_recount_resumes_after_a_crash(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "_ITEMS_PER_RESET", 20)
    wanted, crashed = sums(counted()), 0
    for call in range(1, 60, 7):
        aws = counted()
        aggregate.handler({"recount": True}, CONTEXT)
        later = datetime.now(UTC) + aggregation.RECOUNT_DELAY
        aws.dynamodb.after = crash_at(operation, call=call)
        try:
            aggregation.aggregate(store(aws), later, lambda: True)
        except Crash:
            crashed += 1
        aws.dynamodb.after = None
        aggregation.aggregate(store(aws), later, lambda: True)
        assert sums(aws) == wanted
    assert crashed


def test_slow_recount_deletes_nothing_new() -> None:
    aws = counted()
    wanted = sums(aws)
    aggregate.handler({"recount": True}, CONTEXT)
    later = datetime.now(UTC) + aggregation.RECOUNT_DELAY

    def meanwhile(name: str, _: Any) -> None:
        if name == "DeleteItem":
            aws.dynamodb.before = None
            aggregation.aggregate(store(aws), later, lambda: True)

    aws.dynamodb.before = meanwhile
    aggregation.aggregate(store(aws), later, lambda: True)
    aggregation.aggregate(store(aws), later, lambda: True)
    assert sums(aws) == wanted


def write_older_layout(aws: Aws, happened: Sequence[Event]) -> None:
    """Write the events in the layout of the previous version: units within the sums, no batches."""
    counts = [counting_rules.count_event(one) for one in happened]

    def put(period: str, place: str, content: Any, **more: Any) -> None:
        packed = zlib.compress(msgspec.json.encode(content))
        aws.dynamodb.seed("AnalyticsSums", {"period": {"S": period}, "place": {"S": place}, "packed": {"B": packed}, **more})

    changes = {"changes": {"N": "3"}}
    for one in counts:
        put(one.minute, f"digest of {one.event_id}", [one])
    every = {"top": ("all", ""), **{one.minute[:n]: (one.minute[:m], one.minute[:m]) for one in counts for n, m in ((13, 16), (10, 13))}}
    for period, (place, begin) in every.items():
        put(period, place, counting_rules.sum_counters(one.counters for one in counts if one.minute.startswith(begin)), **changes)
    for day in {one.minute[:10] for one in counts}:
        put(day[:7], day, counting_rules.sum_counters(one.counters for one in counts if one.minute.startswith(day)), **changes)
    for month in {one.minute[:7] for one in counts}:
        put("all", month, counting_rules.sum_counters(one.counters for one in counts if one.minute.startswith(month)), **changes)
    sold = counting_rules.by_category(counting_rules.units(counting_rules.sum_counters(one.counters for one in counts)))
    put("board", "all/", counting_rules.best_sellers((), sold[""]), **changes)
