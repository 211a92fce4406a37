"""Arithmetic on quantities of products: as lines, and as units by SKU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.domain.values import StockLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def add(quantities: Mapping[str, int], lines: Iterable[StockLine]) -> dict[str, int]:
    """Return the units by SKU with those of `lines` added."""
    after = dict(quantities)
    for line in lines:
        after[line.sku] = after.get(line.sku, 0) + line.quantity
    return after


def deduct(quantities: Mapping[str, int], lines: Iterable[StockLine]) -> dict[str, int]:
    """Return the units by SKU with those of `lines` deducted; they may fall below zero."""
    after = dict(quantities)
    for line in lines:
        after[line.sku] = after.get(line.sku, 0) - line.quantity
    return after


def as_lines(quantities: Mapping[str, int]) -> tuple[StockLine, ...]:
    """Return a line for each SKU that has more than zero units."""
    return tuple(StockLine(sku, quantity) for sku, quantity in quantities.items() if quantity > 0)


def subtract(lines: Iterable[StockLine], *taken: Iterable[StockLine]) -> tuple[StockLine, ...]:
    """Return the remaining `lines`, one line per product in their order; products with nothing left are omitted."""
    quantities = add({}, lines)
    for some in taken:
        quantities = deduct(quantities, some)
    return as_lines(quantities)


def covers(lines: Iterable[StockLine], wanted: Iterable[StockLine]) -> bool:
    """Return whether `lines` hold at least the quantities of `wanted`."""
    return not subtract(wanted, lines)
