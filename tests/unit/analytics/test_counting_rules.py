"""Each event counts once, in its minute; leaderboards rank the products that sold most."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from analytics.domain import counting_rules
from orderflow.domain import events
from orderflow.domain.money import Money
from tests.support import orders
from tests.support.orders import ANN
from tests.support.sales import confirmed, event, placed, refunded, rejected, short


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
