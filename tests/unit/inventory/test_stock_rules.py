"""Stock is set aside whole or not at all, never goes below zero, and none of it appears or disappears."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory import rules
from inventory.rules import Level
from orderflow.events import Shortage, StockLine

SKUS = ("A", "B", "C", "D")
STOCK = st.dictionaries(st.sampled_from(SKUS), st.builds(Level, st.integers(0, 2000), st.integers(0, 2000)), min_size=1)
LINES = st.dictionaries(st.sampled_from(SKUS), st.integers(1, 999), min_size=1).map(
    lambda quantities: [StockLine(sku, quantity) for sku, quantity in quantities.items()]
)


def totals(stock: rules.Stock) -> dict[str, int]:
    return {sku: level.available + level.reserved for sku, level in stock.items()}


def covering(stock: rules.Stock, lines: list[StockLine]) -> rules.Stock:
    """Return the stock with as much more available as the lines ask for."""
    more = {line.sku: line.quantity for line in lines}
    skus = stock.keys() | more.keys()
    old = {sku: stock.get(sku, Level()) for sku in skus}
    return {sku: Level(old[sku].available + more.get(sku, 0), old[sku].reserved) for sku in skus}


@given(STOCK, LINES)
def test_reserving_takes_every_line_or_says_which_are_short(stock: rules.Stock, lines: list[StockLine]) -> None:
    after = rules.reserve(stock, lines)

    if isinstance(after, tuple):
        levels = {line.sku: stock.get(line.sku, Level()).available for line in lines}
        assert after == tuple(Shortage(line.sku, line.quantity, levels[line.sku]) for line in lines if levels[line.sku] < line.quantity)
        assert after
    else:
        taken = {line.sku: line.quantity for line in lines}
        assert {sku: stock[sku].available - after[sku].available for sku in taken} == taken
        assert {sku: after[sku] for sku in after if sku not in taken} == {sku: stock[sku] for sku in stock if sku not in taken}


@given(STOCK, LINES)
def test_reserving_keeps_what_there_is_and_never_goes_below_zero(stock: rules.Stock, lines: list[StockLine]) -> None:
    plenty = covering(stock, lines)

    after = rules.reserve(plenty, lines)

    assert not isinstance(after, tuple)
    assert totals(after) == totals(plenty)
    assert all(level.available >= 0 and level.reserved >= 0 for level in after.values())


@given(STOCK, LINES)
def test_releasing_undoes_reserving(stock: rules.Stock, lines: list[StockLine]) -> None:
    plenty = covering(stock, lines)

    after = rules.reserve(plenty, lines)

    assert not isinstance(after, tuple)
    assert rules.release(after, lines) == plenty


@given(STOCK, LINES)
def test_no_more_is_released_than_is_reserved(stock: rules.Stock, lines: list[StockLine]) -> None:
    covered = all(stock.get(line.sku, Level()).reserved >= line.quantity for line in lines)

    if covered:
        assert totals(rules.release(stock, lines)) == totals(stock)
    else:
        with pytest.raises(rules.Overdrawn):
            rules.release(stock, lines)


def test_a_product_without_stock_counts_as_none() -> None:
    assert rules.reserve({}, [StockLine("A", 1)]) == (Shortage("A", 1, 0),)
