"""Sharded stock behaves like unsharded stock: nothing is oversold or stranded, and conflicting orders shard it."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory import reservations
from inventory.domain import stock_rules
from inventory.domain.stock_rules import SHARDS, InsufficientStock, Level, Move
from inventory.store import Inventory
from orderflow.aws.dynamodb import TransactionConflict
from orderflow.aws.order_log import OrderLog
from orderflow.domain.commands import FailFulfilment
from orderflow.domain.events import Shortage, StockReservationFailed
from orderflow.domain.order import stock_lines
from tests.fakes.aws.dynamodb import FakeDynamoDB, Parameters
from tests.fakes.aws.environment import TABLES
from tests.load.hot import ALL_AT_ONCE, Case, simulate
from tests.support import stock_shards
from tests.support.prepared import place
from tests.support.stock_shards import conflicting, levels, scatter

SKU = "MUG-BLUE"
LEVELS = st.builds(Level, *[st.integers(0, 20)] * 3)
SHARD = st.integers(0, SHARDS - 1)
PARTS = ("available", "reserved", "shipped")


def stocked(units: int) -> tuple[FakeDynamoDB, OrderLog, Inventory]:
    database = FakeDynamoDB(*TABLES)
    database.seed("Stock", {"sku": {"S": SKU}, "available": {"N": str(units)}, "reserved": {"N": "0"}})
    return database, OrderLog("OrderLog", database.client), new_process(database)


def new_process(database: FakeDynamoDB) -> Inventory:
    """Return the inventory of a new process, with an empty cache."""
    return Inventory("Stock", "Reservations", "ReturnedStock", database.client)


def rows(database: FakeDynamoDB) -> int:
    return len(database.items("Stock"))


@given(st.integers(-30, 0), st.integers(-30, 0), st.integers(-30, 0), st.dictionaries(SHARD, LEVELS, min_size=1), st.data())
def test_allocation_equals_the_move_and_keeps_shards_nonnegative(
    available: int, reserved: int, shipped: int, shards: dict[int, Level], data: st.DataObject
) -> None:
    own = data.draw(st.sampled_from(sorted(shards)))
    taken = {"available": available, "reserved": reserved, "shipped": shipped}
    given_to = data.draw(st.sampled_from(PARTS))
    parts = {**taken, given_to: -sum(change for part, change in taken.items() if part != given_to)}
    there = {part: sum(getattr(level, part) for level in shards.values()) for part in PARTS}
    try:
        moves = stock_rules.allocate(Move(SKU, **parts), shards, own)
    except InsufficientStock:
        assert any(there[part] + change < 0 for part, change in parts.items())
        return
    for part, change in parts.items():
        assert there[part] + change >= 0
        assert sum(getattr(move, part) for move in moves.values()) == change
        assert all(getattr(shards[number], part) + getattr(move, part) >= 0 for number, move in moves.items())
        enough = getattr(shards[own], part) + change >= 0
        assert not enough or all(getattr(move, part) == 0 for number, move in moves.items() if number != own)


@given(st.builds(Level, *[st.integers(0, 10_000)] * 3))
def test_stock_is_sharded_equally_or_not_at_all(level: Level) -> None:
    share = stock_rules.shard_size(level)

    assert share == 0 or share >= stock_rules.MIN_SHARD_SIZE
    assert level.available - share * (SHARDS - 1) >= share


def test_second_conflict_shards_the_stock() -> None:
    database, log, inventory = stocked(1000)
    place(log, lines={SKU: 3})
    database.before = conflicting(2)

    assert reservations.reserve(log, inventory, "ord_1") == "reserved"
    assert rows(database) == SHARDS
    assert levels(database) == {SKU: Level(997, 3)}


@pytest.mark.parametrize(("units", "times"), [(1000, 1), (SHARDS * stock_rules.MIN_SHARD_SIZE - 1, 4)])
def test_one_conflict_or_little_stock_does_not_shard(units: int, times: int) -> None:
    database, log, inventory = stocked(units)
    place(log, lines={SKU: 3})
    database.before = conflicting(times)

    assert reservations.reserve(log, inventory, "ord_1") == "reserved"
    assert rows(database) == 1


def test_stock_is_sharded_once_by_concurrent_orders() -> None:
    database, log, _ = stocked(1000)
    for number in range(5):
        place(log, f"ord_{number}", lines={SKU: 1})
        database.before = conflicting(2)
        assert reservations.reserve(log, new_process(database), f"ord_{number}") == "reserved"

    assert rows(database) == SHARDS
    assert levels(database) == {SKU: Level(995, 5)}
    assert [item["sku"] for item in database.items("Stock") if "shelves" in item] == [{"S": SKU}]


def test_order_without_conflict_writes_once_and_reads_no_stock() -> None:
    database, log, inventory = stocked(1000)
    place(log, lines={SKU: 1})
    database.calls.clear()

    reservations.reserve(log, inventory, "ord_1")

    assert database.calls == {"Query": 1, "TransactWriteItems": 1}


def test_persistent_conflict_fails_without_changes() -> None:
    database, log, inventory = stocked(10)
    place(log, lines={SKU: 1})
    database.before = conflicting(99)

    with pytest.raises(TransactionConflict):
        reservations.reserve(log, inventory, "ord_1")
    assert levels(database) == {SKU: Level(10)}


@pytest.mark.parametrize("quantity", [1, 7, SHARDS])
def test_last_units_are_found_in_any_stock_shard(quantity: int) -> None:
    database, log, inventory = stocked(SHARDS)
    scatter(database, SKU, iter(range(SHARDS)).__next__)
    place(log, lines={SKU: quantity})

    assert reservations.reserve(log, inventory, "ord_1") == "reserved"
    assert levels(database) == {SKU: Level(SHARDS - quantity, quantity)}


def test_shortage_counts_all_stock_shards() -> None:
    database, log, inventory = stocked(SHARDS)
    scatter(database, SKU, iter(range(SHARDS)).__next__)
    place(log, lines={SKU: SHARDS + 1})

    assert reservations.reserve(log, inventory, "ord_1") == "out_of_stock"
    assert log.history("ord_1")[-1].data == StockReservationFailed((Shortage(SKU, SHARDS + 1, SHARDS),))
    assert levels(database) == {SKU: Level(SHARDS)}


def leave_unprocessed(database: FakeDynamoDB, *keys: int) -> None:
    """Let successive calls of BatchGetItem leave these numbers of keys unprocessed, as under load."""
    left = iter(keys)

    def hook(name: str, _: Parameters) -> None:
        if name == "BatchGetItem":
            database.unprocessed = next(left, 0)

    database.before = hook


def test_unprocessed_stock_shards_are_read_again() -> None:
    database, log, inventory = stocked(SHARDS)
    scatter(database, SKU, iter(range(SHARDS)).__next__)
    place(log, lines={SKU: SHARDS})
    leave_unprocessed(database, SHARDS - 1, SHARDS, 3)

    assert reservations.reserve(log, inventory, "ord_1") == "reserved"
    assert levels(database) == {SKU: Level(0, SHARDS)}


def test_stock_that_is_being_sharded_is_no_shortage(monkeypatch: pytest.MonkeyPatch) -> None:
    database, log, inventory = stocked(SHARDS)
    scatter(database, SKU, iter(range(SHARDS)).__next__)
    place(log, lines={SKU: SHARDS})
    seen = iter([1])
    read = database.batch_get_item

    def read_within_transaction(**given: Any) -> Any:
        answer = read(**given)
        rows_seen = [item for item in answer["Responses"]["Stock"] if item["sku"]["S"] == SKU]
        return {**answer, "Responses": {"Stock": rows_seen}} if next(seen, None) else answer

    monkeypatch.setattr(database, "batch_get_item", read_within_transaction)
    assert reservations.reserve(log, inventory, "ord_1") == "reserved"
    assert levels(database) == {SKU: Level(0, SHARDS)}


def test_transaction_conflict_is_no_shortage() -> None:
    database, log, inventory = stocked(SHARDS)
    scatter(database, SKU, iter(range(SHARDS)).__next__)
    place(log, lines={SKU: SHARDS})
    leave_unprocessed(database, *[1] * 9)

    with pytest.raises(TransactionConflict):
        reservations.reserve(log, inventory, "ord_1")
    assert levels(database) == {SKU: Level(SHARDS)}
    assert reservations.reserve(log, inventory, "ord_1") == "reserved"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 12), st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=8), st.randoms(use_true_random=False))
def test_sharded_stock_sells_like_unsharded_stock(units: int, wanted: list[tuple[int, bool]], chance: random.Random) -> None:
    database, log, _ = stocked(units)
    expected: stock_shards.Stock = levels(database)
    for number, (quantity, failing) in enumerate(wanted):
        scatter(database, SKU, lambda: chance.randrange(SHARDS))
        order_id = f"ord_{number}"
        order = place(log, order_id, lines={SKU: quantity})
        after = stock_shards.reserved(expected, stock_lines(order))
        outcome = reservations.reserve(log, new_process(database), order_id)
        assert outcome == ("out_of_stock" if isinstance(after, tuple) else "reserved")
        if isinstance(after, tuple):
            continue
        scatter(database, SKU, lambda: chance.randrange(SHARDS))
        if failing:
            log.record(log.load(order_id), FailFulfilment("authorize", "States.Timeout"), source="tests")
            assert reservations.release(log, new_process(database), order_id) == "released"
        else:
            expected = after
        assert levels(database) == expected


def test_thousand_concurrent_orders_get_every_unit_once() -> None:
    """Threads on a DynamoDB with occasional transaction conflicts; conflicting steps are retried as by the workflow."""
    database, log, _ = stocked(700)
    chance, orders = random.Random(7), [f"ord_{number:04d}" for number in range(1000)]
    for order_id in orders:
        place(log, order_id, lines={SKU: 1})
    processes = [new_process(database) for _ in range(8)]

    def hook(name: str, given: Parameters) -> None:
        if name == "TransactWriteItems" and chance.random() < 0.2:
            conflicting(1)(name, given)

    def reserve(number: int) -> str:
        for _ in range(20):
            try:
                return reservations.reserve(log, processes[number % len(processes)], orders[number])
            except TransactionConflict:
                continue
        return "conflict"

    database.before = hook
    with ThreadPoolExecutor(len(processes)) as pool:
        ends = Counter(pool.map(reserve, range(len(orders))))

    assert ends == {"reserved": 700, "out_of_stock": 300}
    assert levels(database) == {SKU: Level(0, 700)}
    assert len(database.items("Reservations")) == 700


def test_hot_product_at_125_orders_a_second_needs_few_retries() -> None:
    outcome = simulate(Case(125))

    assert outcome.outcomes == {"reserved": 1000}
    assert outcome.attempts_per_order <= 1.7
    assert (outcome.available, outcome.reserved) == (1000, 1000)


def test_selling_out_oversells_nothing_and_answers_every_order() -> None:
    outcome = simulate(Case(125, units=500))

    assert outcome.outcomes == {"reserved": 500, "out_of_stock": 500}
    assert (outcome.available, outcome.reserved) == (0, 500)
    assert outcome.attempts_per_order <= 1.7


def test_concurrent_orders_are_all_reserved() -> None:
    outcome = simulate(Case(ALL_AT_ONCE, orders=200, units=150))

    assert outcome.outcomes == {"reserved": 150, "out_of_stock": 50}
    assert (outcome.available, outcome.reserved) == (0, 150)


def test_single_row_causes_conflicts() -> None:
    outcome = simulate(Case(125, orders=300, units=600, sharded=False))

    assert outcome.attempts_per_order > 3
    assert outcome.available + outcome.reserved == 600
