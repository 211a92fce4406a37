"""`make load` with few orders: the cost per order is constant, and totals are correct despite duplicate and late events."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from devtools.commands import parsed
from orderflow.domain import events
from orderflow.domain.order import fold
from tests.load import __main__ as command
from tests.load import checks, flatness, hot, invoices
from tests.load.disk import OnDisk
from tests.load.flatness import Measured, Segment
from tests.load.pipeline import Pipeline, Tally
from tests.load.synthetic import HUNDRED, Orders


@pytest.fixture(scope="module")
def thousand_orders(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return flatness.measure(1000, tmp_path_factory.mktemp("load"))


def test_thousandth_order_costs_as_much_as_the_hundredth(thousand_orders: Measured) -> None:
    assert [one.until for one in thousand_orders.segments] == [100, 1000]
    assert flatness.growing(thousand_orders) == []
    assert thousand_orders.segments[-1].calls < 4


def test_duplicate_and_late_events_are_counted_once(thousand_orders: Measured) -> None:
    assert thousand_orders.duplicates > 300
    assert thousand_orders.late > 15
    assert thousand_orders.differences == []


def test_lost_events_are_reported(tmp_path: Path) -> None:
    with Pipeline(tmp_path) as pipeline:
        pipeline.run(100)
        assert pipeline.differences() == []

        pipeline.orders.totals.movements["EUR"]["refunded"] += 1
        pipeline.orders.totals.entries += 1

        assert len(pipeline.differences()) == 2


def test_ledger_that_does_not_sum_to_zero_is_reported() -> None:
    posting = {"M": {"account": {"S": "revenue"}, "amount": {"N": "-5"}}}
    orders = Orders(1, 0, {})
    while "EUR" not in orders.totals.movements:
        orders.next()

    found = list(checks.ledger([{"currency": {"S": "EUR"}, "postings": {"L": [posting]}}], orders.totals))

    assert any("the trial balance is -5 EUR" in one for one in found)


def segment(until: int, calls: int, megabytes: float) -> Segment:
    return Segment(until, 100, Tally(Counter(call=calls), {"events": 600}), Tally(), 1, megabytes, 1.0)


@pytest.mark.parametrize(
    ("calls", "megabytes", "messages"),
    [
        (300, 100.0, []),
        (320, 100.0, ["calls per order differ by 6.7%, 5% allowed"]),
        (300, 107.0, ["megabytes of memory differ by 7.0%, 5% allowed"]),
    ],
)
def test_growing_measures_are_reported(calls: int, megabytes: float, messages: list[str]) -> None:
    assert flatness.growing(Measured([segment(1000, 300, 100.0), segment(10_000, calls, megabytes)])) == messages


def test_same_seed_generates_the_same_orders_of_every_kind() -> None:
    one, other = (Orders(7, 140, {"EUR": 25}) for _ in range(2))
    histories = [one.next() for _ in HUNDRED]

    assert histories == [other.next() for _ in HUNDRED]
    assert one.totals == other.totals
    ends = Counter(fold(history[0].order_id, history).state for history in histories)
    assert ends.keys() >= {"delivered", "rejected", "cancelled", "lost", "confirmed"}
    assert [event for history in histories for event in history] == [
        events.decode(events.encode(event)) for history in histories for event in history
    ]


def test_mapping_on_disk_behaves_like_a_dict(tmp_path: Path) -> None:
    mapping = OnDisk(tmp_path / "one")
    mapping[b"a", 1] = {"S": "x"}
    mapping[b"a", 1] = {"S": "y"}

    assert mapping == {(b"a", 1): {"S": "y"}}
    assert mapping.pop((b"a", 1)) == {"S": "y"}
    assert (len(mapping), mapping.get((b"a", 1))) == (0, None)
    mapping.close()


def test_mapping_on_disk_returns_a_sort_key_range(tmp_path: Path) -> None:
    mapping: Any = OnDisk(tmp_path / "one")
    mapping.update({(part, sort): {"S": f"{part}{sort}"} for part in (b"a", b"b") for sort in (b"1", b"2", b"3", b"4")})
    mapping.update({(b"n", Decimal(number)): {"N": str(number)} for number in (10, 9, 100)})
    mapping[(b"alone",)] = {"S": "one"}

    def between(*given: Any, backwards: bool = False) -> list[Any]:
        return [next(iter(item.values())) for item in mapping.between(*given, backwards=backwards)]

    assert between(b"a", b"2", b"3", None) == ["b'a'b'2'", "b'a'b'3'"]
    assert between(b"b", None, b"3", 1, backwards=True) == ["b'b'b'3'"]
    assert between(b"n", Decimal(10), None, None) == ["10", "100"]
    assert between(b"alone", None, None, None) == ["one"]
    assert set(mapping) >= {(b"a", b"1"), (b"n", Decimal(9)), (b"alone",)}
    mapping.close()


def test_orders_for_many_products_differ() -> None:
    orders = Orders(7, 140, {"EUR": 25}, products=50_000)
    placed = [event.data for _ in range(500) for event in orders.next() if isinstance(event.data, events.OrderPlaced)]
    skus = {line.sku for one in placed for line in one.lines}
    assert len(skus) > 450


@pytest.mark.parametrize(("rate", "batched"), [(200, True), (hot.ALL_AT_ONCE, True), (hot.ALL_AT_ONCE, False)])
def test_two_functions_number_200_invoices_a_second_without_gap(rate: float, *, batched: bool) -> None:
    case = invoices.Case(rate, orders=400 if batched else 40, batched=batched)
    outcome = invoices.simulate(case)
    assert outcome.gapless
    assert not batched or (invoices.missed(case, outcome), outcome.failed) == ([], 0)
    # Getting the last number reads one item, regardless of their count.
    assert outcome.read <= outcome.transactions


def test_costly_product_and_large_item_are_reported() -> None:
    flat = replace(segment(1000, 300, 100.0), sold=1000, scheduled=Tally(Counter(), {"DynamoDB write units": 3000.0}))
    assert flatness.growing(Measured([flat], largest=5000), products=10**6) == []
    costly = replace(flat, scheduled=Tally(Counter(), {"DynamoDB write units": 5000.0}))
    assert [text.partition(",")[0] for text in flatness.growing(Measured([costly], largest=400_000), products=10**6)] == [
        "5.0 write units for a product sold in a minute",
        "an analytics item has 400",
    ]


def test_command_prints_its_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(parsed("load", "--orders", "100")) == 0
    assert "ledger and analytics equal the orders" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "value"), [("--orders", "many"), ("--target", "moon")])
def test_malformed_options_are_rejected_by_name(name: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("load", name, value)
    assert f"{name} must be" in capsys.readouterr().err
