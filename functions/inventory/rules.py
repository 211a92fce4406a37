"""The rules of stock: all lines of an order or none, and never below zero.

What is set aside moves from `available` to `reserved`, what is given back moves the other way, so
their sum never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from orderflow.events import Shortage, StockLine

type Stock = Mapping[str, Level]


class Level(Struct, frozen=True):
    """How much of one product can be sold, and how much is set aside; neither is ever negative."""

    available: int = 0
    reserved: int = 0


class Overdrawn(ValueError):
    """More would be given back than is set aside."""


def shortages(lines: Iterable[StockLine], available: Mapping[str, int]) -> tuple[Shortage, ...]:
    """Return the lines that `available` cannot cover; a product that is not in it counts as 0."""
    return tuple(
        Shortage(line.sku, line.quantity, available.get(line.sku, 0)) for line in lines if available.get(line.sku, 0) < line.quantity
    )


def reserve(stock: Stock, lines: Sequence[StockLine]) -> Stock | tuple[Shortage, ...]:
    """Return the stock with every line set aside, or which lines are short; then nothing is."""
    short = shortages(lines, {sku: level.available for sku, level in stock.items()})
    return short or _moved(stock, lines, direction=1)


def release(stock: Stock, lines: Sequence[StockLine]) -> Stock:
    """Return the stock with every line for sale again.

    Raises:
        Overdrawn: less than that is set aside.
    """
    if shortages(lines, {sku: level.reserved for sku, level in stock.items()}):
        message = "more would be given back than is set aside"
        raise Overdrawn(message)
    return _moved(stock, lines, direction=-1)


def _moved(stock: Stock, lines: Iterable[StockLine], *, direction: int) -> Stock:
    after = dict(stock)
    for line in lines:
        level, quantity = after[line.sku], line.quantity * direction
        after[line.sku] = Level(level.available - quantity, level.reserved + quantity)
    return after
