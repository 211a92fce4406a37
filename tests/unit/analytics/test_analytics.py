"""Totals do not depend on the order, duplication or batching of events, nor on failures."""

from __future__ import annotations

import json
import threading
import zlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from analytics import aggregation, api_models
from analytics import store as stores
from analytics.domain import counting_rules
from analytics.handlers import aggregate, count_events, get_leaderboard, get_sales
from analytics.items import RANGE_BYTES, ProductRange
from analytics.store import AnalyticsStore
from orderflow.domain import events
from orderflow.domain.events import Event
from orderflow.domain.money import Money
from tests.fakes.aws.dynamodb import Crash, crash_at
from tests.fakes.aws.environment import Aws
from tests.support import orders, samples
from tests.support.orders import ANN
from tests.support.runtime import CONTEXT
from tests.support.sales import BEGIN, confirmed, event, placed, record, refunded, rejected, short, streamed

PARENTS = {"top"}
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


def store(aws: Aws) -> AnalyticsStore:
    return AnalyticsStore("AnalyticsSums", aws.dynamodb.client)


def sums(aws: Aws) -> dict[str, Any]:
    """Return all totals, units and leaderboards by place, after checking that no count is pending."""
    assert store(aws).pending(1) == []
    assert store(aws).last_batch().pages == ()
    found: dict[str, Any] = {}
    for item in aws.dynamodb.items("AnalyticsSums"):
        place = item["place"]["S"]
        if item["period"]["S"] == "board":
            period, _, category = place.partition("/")
            found[place] = store(aws).leaderboard(period, category)
        elif item["period"]["S"] in PARENTS or len(item["period"]["S"]) in {counting_rules.HOUR, counting_rules.MONTH}:
            found[place] = store(aws).total(place).counters
    return found | units(aws)


def ranges(aws: Aws, period: str) -> list[ProductRange]:
    """Return the product ranges, after checking that each ends where the next one begins."""
    some = list(store(aws).ranges(period))
    assert [one.end for one in some] == [*(one.first for one in some[1:]), None][: len(some)]
    assert not some or some[0].first == ""
    return some


def units(aws: Aws) -> dict[str, Any]:
    """Return the units of products by period."""
    periods = {item["period"]["S"] for item in aws.dynamodb.items("AnalyticsSums") if item["period"]["S"].startswith("products/")}
    return {one: {sku: sold for part in ranges(aws, one.removeprefix("products/")) for sku, sold in part.units.items()} for one in periods}


def aggregated(*batches: list[Event]) -> dict[str, Any]:
    """Aggregate the batches one by one and return all totals."""
    aws = Aws()
    aws.lend()
    for batch in filter(None, batches):
        assert count_events.handler(streamed(*batch), CONTEXT) == {"batchItemFailures": []}
        aggregate.handler({}, CONTEXT)
    return sums(aws)


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


def test_each_event_has_its_counters() -> None:
    def counted(data: events.EventData) -> counting_rules.Counters:
        return counting_rules.count_event(event(1, data)).counters

    assert counted(placed()) == {"orders": 1}
    assert counted(confirmed({"MUG": 2, "TEA": 1})) == {
        "outcome/confirmed": 1,
        "revenue/EUR": 300,
        "units/tableware/MUG": 2,
        "units//TEA": 1,
    }
    assert counted(rejected("fraud_refused")) == {"outcome/fraud_refused": 1}
    assert counted(events.OrderCancelled(ANN, (), Money(100, "EUR"), "customer", "")) == {"outcome/cancelled": 1}
    later = events.OrderCancelled(ANN, (), Money(100, "EUR"), "customer", "", confirmed=True)
    assert counted(later) == {"cancelled_later": 1}
    assert counted(short()) == {"stock_outs": 1}
    assert counted(refunded(7, "JPY")) == {"refunds/JPY": 7}
    assert counted(events.StockReserved(())) == {}


def test_event_counts_in_its_utc_minute() -> None:
    late = replace(event(1, placed()), occurred_at=datetime.fromisoformat("2026-02-01T01:00:59.999999+02:00"))
    assert counting_rules.count_event(late).minute == "2026-01-31T23:00"


def test_late_report_counts_in_its_reported_minute() -> None:
    late = replace(event(1, placed()), occurred_at=orders.START, recorded_at=orders.START + timedelta(days=3))
    assert counting_rules.count_event(late).minute == "2026-01-15T10:30"


@pytest.mark.parametrize("state", sorted(orders.STATES))
def test_order_has_at_most_one_outcome(state: str) -> None:
    counters = counting_rules.sum_counters(counting_rules.count_event(one).counters for one in orders.history(*orders.STATES[state]))
    assert counters.get("orders", 0) == (state != "new")
    outcomes = counting_rules.below(counters, "outcome")
    assert set(outcomes.values()) <= {1}
    assert len(outcomes) < 2


def test_leaderboards_have_the_top_100_overall_and_by_category() -> None:
    counters = {f"units/c{number % 2}/SKU-{number:03}": 1000 - number // 2 for number in range(250)}
    sold = counting_rules.by_category(counting_rules.units({**counters, "units//OTHER": 5000, "orders": 7}))
    boards = {category: counting_rules.best_sellers((), some) for category, some in sold.items()}
    assert [len(boards[name]) for name in ("", "c0", "c1")] == [100, 100, 100]
    assert boards[""][:3] == (
        counting_rules.Rank("OTHER", 5000),
        counting_rules.Rank("SKU-000", 1000),
        counting_rules.Rank("SKU-001", 1000),
    )
    assert boards["c1"][0] == counting_rules.Rank("SKU-001", 1000)


@given(st.lists(st.dictionaries(st.integers(0, 400).map("SKU-{}".format), st.integers(1, 50), max_size=80), max_size=8))
def test_leaderboard_merged_from_sold_products_equals_full_ranking(batches: list[dict[str, int]]) -> None:
    board: tuple[counting_rules.Rank, ...] = ()
    every = Counter[str]()
    for batch in batches:
        every.update(batch)
        board = counting_rules.best_sellers(board, {sku: every[sku] for sku in batch})
    assert board == counting_rules.best_sellers((), every)


def get_as_staff(module: Any, context: Any, **query: str) -> Any:
    """Return the answer that staff get."""
    request = samples.sample(samples.names(module.__name__.replace(".handlers.", "/"))[0])
    request["requestContext"]["authorizer"]["groups"] = api_models.STAFF_GROUP
    answer = module.handler({**request, "queryStringParameters": query}, context)
    assert answer["statusCode"] == 200, answer
    return json.loads(answer["body"])


def test_leaderboard_has_all_time_day_and_category(aws: Aws, context: Any) -> None:
    sold = {f"{category}-{number:03}": 300 - number for category in ("CUPS", "TEAS") for number in range(120)}
    days = {"2026-01-31": sold, "2026-02-01": {sku: 1000 - units for sku, units in sold.items()}}
    for number, units in enumerate(days.values()):
        for part in range(0, 240, 40):
            ordered = confirmed(dict(list(units.items())[part : part + 40]))
            count_events.handler(streamed(event(1000 * number + part, ordered, 86_400 * number)), context)
    aggregate.handler({}, context)

    def best(**query: str) -> list[tuple[str, int]]:
        return [(one["sku"], one["units"]) for one in get_as_staff(get_leaderboard, context, limit="100", **query)["products"]]

    every = {sku: days["2026-01-31"][sku] + days["2026-02-01"][sku] for sku in sold}
    for period, units in {"": every, **days}.items():
        for category in ("", "cups", "teas"):
            wanted = sorted((one for one in units.items() if one[0].lower().startswith(category)), key=lambda one: (-one[1], one[0]))
            query = {name: value for name, value in {"day": period, "category": category}.items() if value}
            assert best(**query) == wanted[:100]


def test_sales_of_a_minute_and_a_day_have_all_counters(aws: Aws, context: Any) -> None:
    happened = [placed(), placed(), placed(), confirmed({"MUG": 3}), confirmed({"TEA": 2}, "JPY"), short(), rejected("out_of_stock")]
    batch = [event(number, data, number) for number, data in enumerate([*happened, refunded(100), refunded(7, "JPY")])]
    late = [event(100, placed(), -60), event(101, rejected("fraud_refused"), 180)]
    for delivered in (batch[::-1], late, batch):
        count_events.handler(streamed(*delivered), context)
        aggregate.handler({}, context)
    minute_sales = {
        "orders": 3,
        "outcomes": [
            {"outcome": "confirmed", "orders": 2, "basis_points": 6666},
            {"outcome": "out_of_stock", "orders": 1, "basis_points": 3333},
        ],
        "revenue": [{"amount": 300, "currency": "EUR"}, {"amount": 200, "currency": "JPY"}],
        "refunds": [{"amount": 100, "currency": "EUR"}, {"amount": 7, "currency": "JPY"}],
        "stock_outs": 1,
        "cancelled_later": 0,
    }

    minutes = get_as_staff(get_sales, context, per="minute", **{"from": "2026-01-31T23:58", "to": "2026-02-01T00:01"})["sales"]
    days = get_as_staff(get_sales, context, **{"from": "2026-01-31", "to": "2026-02-01"})["sales"]

    assert minutes[0] == {"period": "2026-01-31T23:58", **minute_sales}
    assert [one["period"] for one in minutes] == ["2026-01-31T23:58", "2026-02-01T00:01"]
    assert days[0] == {"period": "2026-01-31", **minute_sales, "orders": 4}
    assert [one["outcome"] for one in days[1]["outcomes"]] == ["fraud_refused"]


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


class TestManyProducts:
    """Units of 20,000 products, which exceed one item."""

    PRODUCTS = tuple(f"SKU-{number:07}" for number in range(20_000))

    def sell(self, aws: Aws, batch: int, units: counting_rules.Units, *, in_parallel: bool = False) -> counting_rules.Units:
        """Add units to the all-time totals as one batch."""
        if not in_parallel:
            return store(aws).add_units(batch, "all", units)
        with ThreadPoolExecutor(4) as pool:
            return AnalyticsStore("AnalyticsSums", aws.dynamodb.client, pool.map).add_units(batch, "all", units)

    @pytest.mark.parametrize("in_parallel", [False, True])
    def test_bulk_units_are_counted_in_small_items(self, aws: Aws, in_parallel: bool) -> None:
        sold = self.sell(aws, 1, {sku: {"cups": 2} for sku in self.PRODUCTS}, in_parallel=in_parallel)
        assert sold == units(aws)["products/all"] == {sku: {"cups": 2} for sku in self.PRODUCTS}
        assert max(len(item["packed"]["B"]) for item in aws.dynamodb.items("AnalyticsSums")) <= RANGE_BYTES

    def test_cost_of_a_change_is_independent_of_the_product_count(self, aws: Aws) -> None:
        calls = []
        for batch, exist in enumerate((1000, 5000, 20_000)):
            self.sell(aws, 2 * batch + 1, {sku: {"": 1} for sku in self.PRODUCTS[:exist]})
            aws.dynamodb.calls.clear()
            self.sell(aws, 2 * batch + 2, {sku: {"": 1} for sku in self.PRODUCTS[:exist:999]})
            calls.append((aws.dynamodb.calls.total(), len(self.PRODUCTS[:exist:999])))
        assert all(made <= 2 * changed for made, changed in calls)

    @pytest.mark.parametrize("in_parallel", [False, True])
    def test_adding_a_batch_again_changes_nothing(self, aws: Aws, in_parallel: bool) -> None:
        self.sell(aws, 1, {sku: {"": 1} for sku in self.PRODUCTS[::2]})
        batch = {sku: {"": 5} for sku in self.PRODUCTS[:3000:3]}
        first = self.sell(aws, 2, batch, in_parallel=in_parallel)
        before = aws.dynamodb.items("AnalyticsSums")
        assert self.sell(aws, 2, batch, in_parallel=in_parallel) == first
        assert aws.dynamodb.items("AnalyticsSums") == before

    @pytest.mark.parametrize("operation", ["PutItem", "TransactWriteItems"])
    def test_partly_added_batch_is_completed(self, aws: Aws, operation: str) -> None:
        self.sell(aws, 1, {sku: {"": 1} for sku in self.PRODUCTS[:4000]})
        batch = {sku: {"": 1} for sku in self.PRODUCTS[1000:3000]} | {f"NEW-{number}": {"": 1} for number in range(3000)}
        wanted = units(aws)["products/all"]
        wanted |= {sku: counting_rules.sum_counters([wanted.get(sku, {}), sold]) for sku, sold in batch.items()}
        aws.dynamodb.after = crash_at(operation, call=1)
        with pytest.raises(Crash):
            self.sell(aws, 2, batch)
        aws.dynamodb.after = None
        assert units(aws)["products/all"] != wanted
        assert self.sell(aws, 2, batch) == {sku: wanted[sku] for sku in batch}
        assert units(aws)["products/all"] == wanted

    def test_concurrent_workers_add_a_batch_once(self, aws: Aws) -> None:
        self.sell(aws, 1, {sku: {"": 1} for sku in self.PRODUCTS[:4000]})
        batch = {sku: {"": 1} for sku in self.PRODUCTS[::5]}

        def work() -> None:
            for _ in range(200):
                try:
                    self.sell(aws, 2, batch)
                except stores.ConcurrentUpdate:
                    continue
                return

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        found = units(aws)["products/all"]
        assert {sku for sku, sold in found.items() if sold == {"": 2}} == set(self.PRODUCTS[:4000:5])
        assert {sku for sku, sold in found.items() if sold == {"": 1}} == (set(self.PRODUCTS[:4000]) | set(batch)) - set(
            self.PRODUCTS[:4000:5]
        )

    def test_product_counts_in_each_category_it_was_sold_in(self, aws: Aws) -> None:
        self.sell(aws, 1, {"MUG": {"cups": 2}})
        assert self.sell(aws, 2, {"MUG": {"gifts": 3}}) == {"MUG": {"cups": 2, "gifts": 3}}


class TestRecount:
    """A recount recomputes all totals from the stored count batches, after damage or a change of the layout."""

    EVENTS = tuple(event(number, confirmed({"MUG": 1, f"CUP-{number}": 2}), 3600 * number) for number in range(30))

    def counted(self) -> Aws:
        aws = Aws()
        aws.lend()
        for begin in range(0, 30, 10):
            count_events.handler(streamed(*self.EVENTS[begin : begin + 10]), CONTEXT)
            aggregate.handler({}, CONTEXT)
        return aws

    def recount(self, aws: Aws) -> None:
        assert aggregate.handler({"recount": True}, CONTEXT) == {"outcome": "recounting"}
        aggregation.aggregate(store(aws), datetime.now(UTC) + aggregation.RECOUNT_DELAY, lambda: True)

    def test_recount_reproduces_all_sums(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(aggregation, "_ITEMS_PER_RESET", 7)
        aws = self.counted()
        wanted = sums(aws)
        self.recount(aws)
        assert sums(aws) == wanted

    def test_recount_restores_lost_sums(self) -> None:
        aws = self.counted()
        wanted = sums(aws)
        for item in aws.dynamodb.items("AnalyticsSums"):
            if item["period"]["S"] in {"top", "board", "products/all"}:
                aws.dynamodb.client.delete_item(TableName="AnalyticsSums", Key={"period": item["period"], "place": item["place"]})
        assert sums(aws) != wanted
        self.recount(aws)
        assert sums(aws) == wanted

    def test_replay_and_recount_restore_lost_count_batches(self) -> None:
        aws = self.counted()
        wanted = sums(aws)
        for item in aws.dynamodb.items("AnalyticsSums"):
            if item["period"]["S"].startswith("2026-02-01T"):
                aws.dynamodb.client.delete_item(TableName="AnalyticsSums", Key={"period": item["period"], "place": item["place"]})
        count_events.handler(streamed(*self.EVENTS), CONTEXT)
        aggregate.handler({}, CONTEXT)
        assert sums(aws) != wanted
        self.recount(aws)
        assert sums(aws) == wanted

    def test_older_layout_is_read_and_migrated_by_recount(self) -> None:
        wanted = sums(self.counted())
        aws = Aws()
        aws.lend()
        first, rest = self.EVENTS[:20], self.EVENTS[20:]
        write_older_layout(aws, first)
        count_events.handler(streamed(*rest, *first[:3]), CONTEXT)
        aggregate.handler({}, CONTEXT)
        assert {place: store(aws).total(place).counters for place in ("all", "2026-01-31", "2026-02-01")} == {
            place: wanted[place] for place in ("all", "2026-01-31", "2026-02-01")
        }
        assert store(aws).leaderboard("all", "")[0] == counting_rules.Rank("MUG", 20)
        self.recount(aws)
        assert sums(aws) == wanted

    def test_recount_waits_for_invocations_in_progress(self) -> None:
        aws = self.counted()
        aggregate.handler({"recount": True}, CONTEXT)
        before = aws.dynamodb.items("AnalyticsSums")
        count_events.handler(streamed(event(99, placed())), CONTEXT)
        assert aggregate.handler({}, CONTEXT)["events"] == 0
        assert [item for item in aws.dynamodb.items("AnalyticsSums") if item["period"]["S"] != "new"] == [
            item for item in before if item["period"]["S"] != "new"
        ]

    @pytest.mark.parametrize("operation", ["PutItem", "DeleteItem", "Scan", "TransactWriteItems"])
    def test_recount_resumes_after_a_crash(self, operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(aggregation, "_ITEMS_PER_RESET", 20)
        wanted, crashed = sums(self.counted()), 0
        for call in range(1, 60, 7):
            aws = self.counted()
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

    def test_slow_recount_deletes_nothing_new(self) -> None:
        aws = self.counted()
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


@pytest.mark.parametrize("module", [get_sales, get_leaderboard])
def test_samples_of_requests_have_their_answers(module: Any, aws: Aws, context: Any) -> None:
    count_events.handler(samples.sample("analytics/count_events/life"), context)
    aggregate.handler(samples.sample("analytics/aggregate/schedule"), CONTEXT)
    for name in samples.names(module.__name__.replace(".handlers.", "/")):
        answer = module.handler(samples.sample(name), context)
        assert samples.agrees({**answer, "body": json.loads(answer["body"])}, samples.expected(name)), name


def request(**query: str) -> Any:
    return {"queryStringParameters": query or None}


def test_period_range_defaults_to_the_latest_periods() -> None:
    now = datetime(2026, 3, 1, 0, 10, 59, tzinfo=UTC)
    days, minutes = api_models.period_range(request(), now), api_models.period_range(request(per="minute"), now)
    assert (days.first, days.last, days.parent_periods) == ("2026-01-31", "2026-03-01", ["2026-01", "2026-02", "2026-03"])
    assert (minutes.first, minutes.last) == ("2026-02-28T23:11", "2026-03-01T00:10")
    assert minutes.parent_periods == ["2026-02-28T23", "2026-03-01T00"]


@pytest.mark.parametrize(
    "query",
    [
        {"per": "hour"},
        {"from": "2026-1-01"},
        {"from": "2026-02-30"},
        {"to": "tomorrow"},
        {"from": "2026-02-02", "to": "2026-02-01"},
        {"from": "2024-01-01", "to": "2026-01-01"},
        {"to": "0001-01-01"},
        {"to": "1000-01-05"},
        {"to": "9999-12-31"},
        {"from": "9999-12-31", "to": "9999-12-31"},
        {"per": "minute", "to": "9999-12-31T23:59"},
        {"per": "minute", "to": "1000-01-01T00:00"},
        {"per": "minute", "from": "2026-01-01"},
        {"per": "minute", "from": "2026-01-01T00:00", "to": "2026-01-02T00:00"},
    ],
)
def test_invalid_time_range_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(api_models.Problem) as refused:
        api_models.period_range(request(**query), BEGIN)
    assert refused.value.document["field"] in query


@pytest.mark.parametrize("query", [{"day": "2026-02-30"}, {"category": "A b"}, {"limit": "0"}, {"limit": "101"}, {"limit": "x"}])
def test_invalid_leaderboard_request_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(api_models.Problem) as refused:
        api_models.leaderboard_query(request(**query))
    assert refused.value.document["field"] in query
