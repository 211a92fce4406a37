"""The rules of stock: all lines of an order or none, and never below zero.

What is set aside moves from `available` to `reserved`, and from there to `shipped` when it leaves or back when it
does not. What comes back moves from `shipped` to `available`; what is lost on the way stays shipped. So the sum of
the three is what was ever received, and nothing that happens to an order changes it.

A product lies on one shelf, or, when many orders want it at once, on `SHELVES` of them. Over its shelves each of the
three adds up to what it is of the product; which piece lies where means nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from orderflow.domain.events import Shortage, StockLine
from orderflow.domain.order import Order, remaining, subtract

type Stock = Mapping[str, Level]
type Shelves = Mapping[int, Level]

# Keys of what is stored follow from it: a change has to leave shelves that there are.
SHELVES = 16
# A product is spread when each of its shelves gets so many pieces: of fewer the shelves would soon be empty one by one.
LEAST_ON_A_SHELF = 8


class Level(Struct, frozen=True):
    """How much of one product can be sold, is set aside, and has left for good so far; none is ever negative."""

    available: int = 0
    reserved: int = 0
    shipped: int = 0


class Holding(Struct, frozen=True):
    """What one order has of the stock: set aside for it, and gone to the customer without having come back."""

    reserved: tuple[StockLine, ...] = ()
    shipped: tuple[StockLine, ...] = ()


class Aside(Struct, frozen=True):
    """What is set aside for an order, when so many of its parcels have left and are not part of it any more."""

    lines: tuple[StockLine, ...] = ()
    parcels: int = 0


class Back(Struct, frozen=True):
    """What came back of an order and is for sale again: the lines of so many of its returns."""

    lines: tuple[StockLine, ...] = ()
    returns: int = 0


class Settlement(Struct, frozen=True):
    """How stock changes so that it follows an order, and what is known of the order after that."""

    moves: tuple[Move, ...]
    aside: Aside
    back: Back


class Move(Struct, frozen=True):
    """By how much each part of one product's stock changes; the three add up to nothing."""

    sku: str
    available: int
    reserved: int
    shipped: int


_PARTS = ("available", "reserved", "shipped")


class NotAside(LookupError):
    """Nothing is set aside for an order that should have something."""


class Overdrawn(ValueError):
    """More would be taken from a part of the stock than is in it."""


def aside(order: Order) -> Aside:
    """Return what should be set aside for an order by its events."""
    return Aside(remaining(order) if order.reservation == "held" else (), len(order.parcels))


def back(order: Order) -> Back:
    """Return what should have come back of an order by its events."""
    came = [one for one in order.returns if one.amount]
    return Back(subtract(line for one in came for line in one.lines), len(came))


def holding(order: Order, aside: Aside, back: Back) -> Holding:
    """Return what an order has of the stock when this is set aside and that has come back; a parcel that was lost is gone as well."""
    return Holding(aside.lines, subtract((line for parcel in order.parcels[: aside.parcels] for line in parcel.lines), back.lines))


def due(order: Order) -> Holding:
    """Return what an order has of the stock by its events."""
    return holding(order, aside(order), back(order))


def settlement(order: Order, was_aside: Aside | None, was_back: Back) -> Settlement:
    """Return what brings stock in line with the order.

    Without a row (None) nothing is set aside, and all parcels of the order have left: a row is gone only when that is so, and
    nothing leaves afterwards. What counts more parcels or returns than the order has is ahead of what was read of it, and stays.

    Raises:
        NotAside: there is no row, but something should be set aside.
    """
    should_aside, should_back = aside(order), back(order)
    if was_aside is None and should_aside.lines:
        raise NotAside(order.order_id)
    before = was_aside or should_aside
    after = should_aside if should_aside.parcels >= before.parcels else before
    after_back = should_back if should_back.returns > was_back.returns else was_back
    return Settlement(moves(holding(order, before, was_back), holding(order, after, after_back)), after, after_back)


def moves(before: Holding, after: Holding) -> tuple[Move, ...]:
    """Return how stock changes when an order has `after` of it instead of `before`; products that stay are left out."""
    reserved, shipped = _more(before.reserved, after.reserved), _more(before.shipped, after.shipped)
    changes = {sku: (reserved.get(sku, 0), shipped.get(sku, 0)) for sku in {**reserved, **shipped}}
    return tuple(Move(sku, -set_aside - gone, set_aside, gone) for sku, (set_aside, gone) in changes.items() if set_aside or gone)


def moved(stock: Stock, changes: Iterable[Move]) -> Stock:
    """Return the stock after these moves.

    Raises:
        Overdrawn: some part of it would be negative.
    """
    after = dict(stock)
    for move in changes:
        level = after.get(move.sku, Level())
        after[move.sku] = Level(level.available + move.available, level.reserved + move.reserved, level.shipped + move.shipped)
    if any(min(level.available, level.reserved, level.shipped) < 0 for level in after.values()):
        message = "more would be taken than is there"
        raise Overdrawn(message)
    return after


def shelf(order_id: str, sku: str) -> int:
    """Return on which of its shelves an order looks for a product that is spread."""
    return zlib.crc32(f"{order_id}/{sku}".encode()) % SHELVES


def share(level: Level) -> int:
    """Return how many pieces each further shelf gets of a product on one shelf; 0 where it stays on that."""
    each = level.available // SHELVES
    return each if each >= LEAST_ON_A_SHELF else 0


def drawn(move: Move, shelves: Shelves, own: int) -> dict[int, Move]:
    """Return a move as moves of single shelves: what it takes comes from the shelf `own` first, then from those that have most.

    What it gives is put on `own`.

    Raises:
        Overdrawn: all shelves together do not have what it takes.
    """
    changes = {own: dict.fromkeys(_PARTS, 0)}
    for part in _PARTS:
        change: int = getattr(move, part)
        if change >= 0:
            changes[own][part] += change
            continue
        there: dict[int, int] = {number: getattr(level, part) for number, level in shelves.items()}
        for number in sorted(there, key=lambda number: (number != own, -there[number], number)):
            taken = min(there[number], -change)
            if taken:
                changes.setdefault(number, dict.fromkeys(_PARTS, 0))[part] -= taken
                change += taken
        if change:
            message = f"{-change} more {part} than there are would be taken"
            raise Overdrawn(message)
    return {number: Move(move.sku, **parts) for number, parts in changes.items() if any(parts.values())}


def differences(reserved: Mapping[str, int], held: Iterable[StockLine]) -> dict[str, int]:
    """Return the products of which not as much is reserved as is held, with by how much it is more (or, below 0, less)."""
    left = dict(reserved)
    for line in held:
        left[line.sku] = left.get(line.sku, 0) - line.quantity
    return {sku: by for sku, by in left.items() if by}


def shortages(lines: Iterable[StockLine], available: Mapping[str, int]) -> tuple[Shortage, ...]:
    """Return the lines that `available` cannot cover; a product that is not in it counts as 0."""
    return tuple(
        Shortage(line.sku, line.quantity, available.get(line.sku, 0)) for line in lines if available.get(line.sku, 0) < line.quantity
    )


def reserve(stock: Stock, lines: Sequence[StockLine]) -> Stock | tuple[Shortage, ...]:
    """Return the stock with every line set aside, or which lines are short; then nothing is."""
    short = shortages(lines, {sku: level.available for sku, level in stock.items()})
    return short or moved(stock, moves(Holding(), Holding(tuple(lines))))


def _more(before: Iterable[StockLine], after: Iterable[StockLine]) -> dict[str, int]:
    """Return by how much each product is more in `after`, or less."""
    quantities: dict[str, int] = {}
    for lines, direction in ((before, -1), (after, 1)):
        for line in lines:
            quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity * direction
    return quantities
