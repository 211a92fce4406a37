"""Reservations are complete or refused, stock is never negative, and its sum is constant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.domain import stock_rules
from inventory.domain.stock_rules import Holding, InsufficientStock, Level, ReservationMissing, ReservedLines, RestockedLines
from orderflow.domain.commands import RecordReturn, decide
from orderflow.domain.events import ShipmentDispatched, Shortage, StockLine
from tests.support import orders, stock_shards

SKUS = ("A", "B", "C", "D")
STOCK = st.dictionaries(st.sampled_from(SKUS), st.builds(Level, *[st.integers(0, 2000)] * 3), min_size=1)
LINES = st.dictionaries(st.sampled_from(SKUS), st.integers(1, 999), min_size=1).map(
    lambda quantities: [StockLine(sku, quantity) for sku, quantity in quantities.items()]
)


def totals(stock: stock_shards.Stock) -> dict[str, int]:
    return {sku: level.available + level.reserved + level.shipped for sku, level in stock.items()}


def replenished(stock: stock_shards.Stock, lines: list[StockLine]) -> stock_shards.Stock:
    """Return the stock plus the quantities of the lines."""
    more = {line.sku: line.quantity for line in lines}
    skus = stock.keys() | more.keys()
    old = {sku: stock.get(sku, Level()) for sku in skus}
    return {sku: Level(old[sku].available + more.get(sku, 0), old[sku].reserved, old[sku].shipped) for sku in skus}


@given(STOCK, LINES)
def test_reservation_takes_all_lines_or_names_shortages(stock: stock_shards.Stock, lines: list[StockLine]) -> None:
    after = stock_shards.reserved(stock, lines)

    if isinstance(after, tuple):
        levels = {line.sku: stock.get(line.sku, Level()).available for line in lines}
        assert after == tuple(Shortage(line.sku, line.quantity, levels[line.sku]) for line in lines if levels[line.sku] < line.quantity)
        assert after
    else:
        taken = {line.sku: line.quantity for line in lines}
        assert {sku: stock[sku].available - after[sku].available for sku in taken} == taken
        assert {sku: after[sku] for sku in after if sku not in taken} == {sku: stock[sku] for sku in stock if sku not in taken}


@given(STOCK, LINES)
def test_reservation_never_makes_stock_negative(stock: stock_shards.Stock, lines: list[StockLine]) -> None:
    plenty = replenished(stock, lines)

    after = stock_shards.reserved(plenty, lines)

    assert not isinstance(after, tuple)
    assert totals(after) == totals(plenty)
    assert all(level.available >= 0 and level.reserved >= 0 for level in after.values())


HOLDING = st.builds(
    Holding,
    *[
        st.dictionaries(st.sampled_from(SKUS), st.integers(1, 999)).map(
            lambda quantities: tuple(StockLine(sku, quantity) for sku, quantity in quantities.items())
        )
    ]
    * 2,
)


@given(STOCK, HOLDING, HOLDING)
def test_moves_conserve_the_stock(stock: stock_shards.Stock, before: Holding, after: Holding) -> None:
    changes = stock_rules.moves(before, after)

    assert all(move.available + move.reserved + move.shipped == 0 for move in changes)
    assert all(move.reserved or move.shipped for move in changes)
    try:
        moved = stock_shards.moved(stock, changes)
    except InsufficientStock:
        return
    assert totals(moved) == {sku: totals(stock).get(sku, 0) for sku in moved}
    assert all(min(level.available, level.reserved, level.shipped) >= 0 for level in moved.values())
    assert {sku: moved[sku] for sku in stock} == dict(stock) or changes


@given(HOLDING, HOLDING, HOLDING)
def test_stock_level_does_not_depend_on_the_steps(first: Holding, second: Holding, third: Holding) -> None:
    plenty: stock_shards.Stock = {sku: Level(9999, 9999, 9999) for sku in SKUS}
    by_steps = stock_shards.moved(stock_shards.moved(plenty, stock_rules.moves(first, second)), stock_rules.moves(second, third))

    assert by_steps == stock_shards.moved(plenty, stock_rules.moves(first, third))
    assert stock_rules.moves(third, third) == ()


def test_moves_never_exceed_the_stock() -> None:
    with pytest.raises(InsufficientStock):
        stock_shards.moved({"A": Level(5, 1, 0)}, stock_rules.moves(Holding(reserved=(StockLine("A", 2),)), Holding()))


# By state of the order, of two mugs and one pack of filters: its reserved and its shipped units.
HOLDINGS = {
    "placed": ({}, {}),
    "reserved": ({"MUG-BLUE": 2, "FILTER-100": 1}, {}),
    "held": ({"MUG-BLUE": 2, "FILTER-100": 1}, {}),
    "expired": ({}, {}),
    "released": ({}, {}),
    "confirmed": ({"MUG-BLUE": 2, "FILTER-100": 1}, {}),
    "partly dispatched": ({"MUG-BLUE": 1, "FILTER-100": 1}, {"MUG-BLUE": 1}),
    "cancelling the rest": ({"MUG-BLUE": 1, "FILTER-100": 1}, {"MUG-BLUE": 1}),
    "rest cancelled": ({}, {"MUG-BLUE": 1}),
    "dispatched": ({}, {"MUG-BLUE": 2, "FILTER-100": 1}),
    "delivered": ({}, {"MUG-BLUE": 2, "FILTER-100": 1}),
    "all lost": ({}, {"MUG-BLUE": 2, "FILTER-100": 1}),
    "return requested": ({}, {"MUG-BLUE": 2, "FILTER-100": 1}),
    "partly returned": ({}, {"MUG-BLUE": 1, "FILTER-100": 1}),
}


@pytest.mark.parametrize("state", HOLDINGS)
def test_stock_of_an_order_follows_from_its_events(state: str) -> None:
    holding = stock_shards.holding_of(orders.after(*orders.STATES[state]))

    assert tuple({line.sku: line.quantity for line in lines} for lines in (holding.reserved, holding.shipped)) == HOLDINGS[state]


@pytest.mark.parametrize("state", HOLDINGS)
def test_order_with_reserved_stock_needs_its_row(state: str) -> None:
    order = orders.after(*orders.STATES[state])
    if stock_shards.holding_of(order).reserved:
        with pytest.raises(ReservationMissing):
            stock_rules.sync(order, None, RestockedLines())
        return
    before = stock_rules.holding(order, ReservedLines((), len(order.parcels)), RestockedLines())
    synced = stock_rules.sync(order, None, RestockedLines())
    assert synced.moves == stock_rules.moves(before, stock_shards.holding_of(order))
    assert not stock_rules.sync(order, None, synced.restocked_after).changes_rows
    assert stock_rules.sync(order, None, synced.restocked_after).moves == ()


def test_order_without_row_ships_no_stock() -> None:
    """Otherwise its parcel would count as synced before it is."""
    for name, commands in orders.STATES.items():
        order = orders.after(*commands)
        if order.placed and not stock_rules.reserved_lines(order).lines:
            decided = decide(order, orders.DISPATCH_REST)
            assert isinstance(decided, tuple), name
            assert not any(isinstance(data, ShipmentDispatched) for data in decided), name


@pytest.mark.parametrize("state", HOLDINGS)
@pytest.mark.parametrize("later", HOLDINGS)
def test_rows_newer_than_the_order_stay_unchanged(state: str, later: str) -> None:
    known, ahead = orders.after(*orders.STATES[state]), orders.after(*orders.STATES[later])
    reserved, back = stock_rules.reserved_lines(ahead), stock_rules.restocked_lines(ahead)
    if reserved.parcels <= len(known.parcels) or not reserved.lines:
        return
    synced = stock_rules.sync(known, reserved, back)
    assert (synced.moves, synced.reserved_after, synced.restocked_after) == ((), reserved, back)


def test_product_without_stock_is_out_of_stock() -> None:
    assert stock_shards.reserved({}, [StockLine("A", 1)]) == (Shortage("A", 1, 0),)


def test_spoiled_goods_are_not_restocked() -> None:
    ordinary = (*orders.STATES["spoiled delivered"], orders.RETURN, orders.RECEIVE_RETURN)
    spoiled = (*orders.STATES["spoiled delivered"], orders.RETURN_SPOILED, RecordReturn("ret_2"))
    assert stock_rules.restocked_lines(orders.after(*ordinary)) == stock_rules.RestockedLines(orders.ONE_MUG, 1)
    assert stock_rules.restocked_lines(orders.after(*spoiled)) == stock_rules.RestockedLines((), 1)
