"""Totals do not depend on the order, duplication or batching of events, nor on failures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import aggregation
from analytics.domain import counting_rules
from analytics.handlers import aggregate, count_events
from orderflow.domain import events
from orderflow.domain.events import Event
from tests.fakes.aws.dynamodb import Crash, crash_at
from tests.fakes.aws.environment import Aws
from tests.support import samples
from tests.support.runtime import CONTEXT
from tests.support.sales import BEGIN, confirmed, event, placed, record, refunded, rejected, short, streamed
from tests.unit.analytics.totals import aggregated, store, sums

SKUS = st.sampled_from(["MUG", "CUP", "TEA"])
EVENT_DATA = st.one_of(
    st.builds(placed),
    st.builds(confirmed, st.dictionaries(SKUS, st.integers(1, 9), min_size=1), st.sampled_from(["EUR", "JPY"])),
    st.builds(rejected, st.sampled_from(["out_of_stock", "fraud_refused"])),
    st.just(short()),
    st.builds(refunded, st.integers(1, 10**9)),
    st.just(events.CancellationFailed("too late")),
)
# Six hours around the end of a month, so that events fall into different minutes, hours, days and months.
EVENTS = st.lists(st.tuples(EVENT_DATA, st.integers(-10_800, 10_800)), max_size=12).map(
    lambda drawn: [event(number, *one) for number, one in enumerate(drawn)]
)


@given(EVENTS)
def test_sums_of_all_levels_match_the_events(happened: list[Event]) -> None:
    found = aggregated(happened)
    counts = [counting_rules.count_event(one) for one in happened]

    def wanted(period: str) -> counting_rules.Counters:
        return counting_rules.sum_counters(one.counters for one in counts if period in {"all", one.minute[: len(period)]})

    for period, content in found.items():
        if period.startswith("products/"):
            assert content == counting_rules.units(wanted(period.removeprefix("products/")))
        elif "/" not in period:
            assert content == counting_rules.without_units(wanted(period))
    assert {one.minute for one in counts if one.counters} <= found.keys()


@given(EVENTS, st.data())
def test_totals_do_not_depend_on_order_duplicates_or_batches(happened: list[Event], data: st.DataObject) -> None:
    duplicates = data.draw(st.lists(st.sampled_from(happened), max_size=6)) if happened else []
    shuffled = data.draw(st.permutations([*happened, *duplicates]))
    at = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=4)))
    batches = [shuffled[begin:end] for begin, end in zip([0, *at], [*at, len(shuffled)], strict=True)]
    assert aggregated(*batches) == aggregated(happened)


@pytest.mark.parametrize("operation", ["PutItem", "DeleteItem", "GetItem", "Query", "TransactWriteItems"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_crashed_aggregation_is_completed_by_the_next_run(aws: Aws, operation: str, when: str) -> None:
    happened = [event(number, confirmed({"MUG": 1}), 40 * number) for number in range(5)]
    wanted, crashed = aggregated(happened), 0
    for call in range(1, 30):
        aws = Aws()
        aws.lend()
        count_events.handler(streamed(*happened[:3]), CONTEXT)
        count_events.handler(streamed(*happened[2:]), CONTEXT)
        setattr(aws.dynamodb, when, crash_at(operation, call=call))
        try:
            aggregate.handler({}, CONTEXT)
        except Crash:
            crashed += 1
        aws.dynamodb.before = aws.dynamodb.after = None
        aggregate.handler({}, CONTEXT)
        assert sums(aws) == wanted
    assert crashed


@pytest.mark.parametrize("operation", ["PutItem", "Query", "GetItem", "TransactWriteItems"])
def test_concurrent_aggregations_do_not_interfere(aws: Aws, operation: str) -> None:
    """A concurrent run with one more event starts before the n-th call."""
    first, second = (event(number, confirmed({"MUG": 1})) for number in (1, 2))
    wanted = aggregated([first, second])
    for moment in range(1, 25):
        aws = Aws()
        aws.lend()
        count_events.handler(streamed(first), CONTEXT)
        seen = 0

        def meanwhile(name: str, _: Any, moment: int = moment, aws: Aws = aws) -> None:
            nonlocal seen
            seen += name == operation
            if seen == moment:
                aws.dynamodb.before = None
                count_events.handler(streamed(second), CONTEXT)
                aggregation.aggregate(store(aws), BEGIN, lambda: True)

        aws.dynamodb.before = meanwhile
        aggregation.aggregate(store(aws), BEGIN, lambda: True)
        if seen >= moment:
            aggregation.aggregate(store(aws), BEGIN, lambda: True)
            assert sums(aws) == wanted


def test_batch_is_counted_in_one_write(aws: Aws, context: Any) -> None:
    count_events.handler(streamed(*(event(number, placed(), number) for number in range(500))), context)
    assert aws.dynamodb.calls == {"PutItem": 1}


def test_unwritable_batch_is_retried_whole(aws: Aws, context: Any) -> None:
    aws.dynamodb.before = crash_at("PutItem")
    with pytest.raises(Crash):
        count_events.handler(streamed(event(1, placed())), context)


def test_poison_record_goes_to_the_queue_and_others_count(aws: Aws, context: Any) -> None:
    batch = streamed(event(1, placed()))
    batch["Records"].append(record(b"poison"))
    assert count_events.handler(batch, context) == {"batchItemFailures": []}
    assert [len(sent) for sent in aws.sqs.sent.values()] == [1]
    assert aggregate.handler({}, CONTEXT)["events"] == 1


def test_many_minutes_are_aggregated_in_several_rounds(aws: Aws) -> None:
    """As in a replay. A run without time left stops between rounds."""
    for begin in range(0, 600, 150):
        count_events.handler(streamed(*(event(number, placed(), 60 * number) for number in range(begin, begin + 150))), CONTEXT)
    left = iter([True, True, True, False])
    assert aggregation.aggregate(store(aws), BEGIN, lambda: next(left, False)).minutes == 80
    assert aggregation.aggregate(store(aws), BEGIN, lambda: True).minutes == 520
    assert store(aws).total("all").counters == {"orders": 600}


def test_replayed_events_add_no_count_batches(aws: Aws) -> None:
    happened = [event(number, placed(), number) for number in range(50)]
    for number in range(3):
        count_events.handler(streamed(*happened[number:]), CONTEXT)
        aggregate.handler({}, CONTEXT)
    pages = [item for item in aws.dynamodb.items("AnalyticsSums") if len(item["period"]["S"]) == counting_rules.MINUTE]
    assert len(pages) == 1


@pytest.mark.parametrize("name", samples.names("analytics/count_events"))
def test_samples_have_their_answers(name: str, aws: Aws, context: Any) -> None:
    assert count_events.handler(samples.sample(name), context) == samples.expected(name)
