"""The rules of stock: all lines of an order or none, and never below zero.

A reservation moves units from `available` to `reserved`, a dispatch from `reserved` to `shipped`, a release from `reserved` back to
`available`, and a return from `shipped` to `available`; a lost parcel and spoiled goods stay shipped. So the sum of the three is the
number of units ever received.

A product has one stock row, or `SHARDS` rows (shards) if many orders want it at once. The counts of a product are
the sums over its shards; it does not matter which shard has a unit.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

from msgspec import Struct

from orderflow.domain.events import Shortage, StockLine
from orderflow.domain.order import Order, remaining, stock_lines, subtract

type Shards = Mapping[int, Level]
# The reserved and the shipped units of products.
type Levels = dict[str, tuple[int, int]]

# Keys of stored rows follow from it: a change must keep existing shards.
SHARDS = 16
# The least units per shard of a sharded product: smaller shards would soon be empty.
MIN_SHARD_SIZE = 8
_PARTS = ("available", "reserved", "shipped")


class Level(Struct, frozen=True):
    """Available, reserved and shipped units of a product or a shard; never negative."""

    available: int = 0
    reserved: int = 0
    shipped: int = 0


class Holding(Struct, frozen=True):
    """The stock of one order: reserved for it, and shipped and not returned."""

    reserved: tuple[StockLine, ...] = ()
    shipped: tuple[StockLine, ...] = ()


class ReservedLines(Struct, frozen=True):
    """An order's reservation row: the reserved lines, after `parcels` of its parcels were dispatched."""

    lines: tuple[StockLine, ...] = ()
    parcels: int = 0


class RestockedLines(Struct, frozen=True):
    """An order's row of returned stock: the lines of its first `returns` returns that are available again."""

    lines: tuple[StockLine, ...] = ()
    returns: int = 0


class Move(Struct, frozen=True):
    """The changes of the counts of one product, which add up to 0."""

    sku: str
    available: int
    reserved: int
    shipped: int


class StockChange(Struct, frozen=True):
    """The changes of one transaction for an order: stock, its reservation row, and its row of returned stock.

    None stands for a missing reservation row, before or after the change.
    """

    moves: tuple[Move, ...]
    reserved_before: ReservedLines | None
    reserved_after: ReservedLines | None
    restocked_before: RestockedLines = RestockedLines()
    restocked_after: RestockedLines = RestockedLines()

    @property
    def changes_rows(self) -> bool:
        """True if a row of the order changes; stock never changes without one."""
        return self.reserved_before != self.reserved_after or self.restocked_before != self.restocked_after


class ReservationMissing(LookupError):
    """The order has no reservation row, but its events say that stock is reserved."""


class InsufficientStock(ValueError):
    """A move takes more units than the shards have."""


def reserved_lines(order: Order) -> ReservedLines:
    """Return the reservation that an order should have by its events."""
    return ReservedLines(remaining(order) if order.reservation == "held" else (), len(order.parcels))


def restocked_lines(order: Order) -> RestockedLines:
    """Return the returned stock that an order should have by its events."""
    received = [one for one in order.returns if one.amount]
    return RestockedLines(subtract(line for one in received if one.reason_code != "spoiled" for line in one.lines), len(received))


def holding(order: Order, reserved: ReservedLines, restocked: RestockedLines) -> Holding:
    """Return the stock that an order has with these rows; a lost parcel counts as shipped."""
    shipped = subtract((line for parcel in order.parcels[: reserved.parcels] for line in parcel.lines), restocked.lines)
    return Holding(reserved.lines, shipped)


def add_holding(levels: Levels, held: Holding) -> Levels:
    """Return levels with the stock of one more order."""
    after = dict(levels)
    for reserved, shipped, lines in ((1, 0, held.reserved), (0, 1, held.shipped)):
        for line in lines:
            before = after.get(line.sku, (0, 0))
            after[line.sku] = before[0] + reserved * line.quantity, before[1] + shipped * line.quantity
    return after


def reservation(order: Order) -> StockChange:
    """Return the change that reserves every line of the order."""
    lines = stock_lines(order)
    return StockChange(moves(Holding(), Holding(lines)), None, ReservedLines(lines))


def expiry(order: Order) -> StockChange:
    """Return the change that expires the reservation of an order without dispatched lines."""
    lines = stock_lines(order)
    return StockChange(moves(Holding(lines), Holding()), ReservedLines(lines), None)


def release(order: Order, row: ReservedLines) -> StockChange:
    """Return the change that releases all lines that were not dispatched, and ships the dispatched lines that `row` still has."""
    before = holding(order, row, RestockedLines())
    after = holding(order, ReservedLines(parcels=len(order.parcels)), RestockedLines())
    return StockChange(moves(before, after), row, None)


def sync(order: Order, row: ReservedLines | None, restocked: RestockedLines) -> StockChange:
    """Return the change that brings stock in line with the order.

    A missing row (None) means that nothing is reserved and all parcels are dispatched: only then a row is deleted, and nothing is
    dispatched afterwards. A row that counts more parcels or returns than `order` remains: it includes later events.

    Raises:
        ReservationMissing: there is no row, but lines should be reserved.
    """
    expected, expected_restocked = reserved_lines(order), restocked_lines(order)
    if row is None and expected.lines:
        raise ReservationMissing(order.order_id)
    before = row or expected
    after = expected if expected.parcels >= before.parcels else before
    restocked_after = expected_restocked if expected_restocked.returns > restocked.returns else restocked
    return StockChange(
        moves(holding(order, before, restocked), holding(order, after, restocked_after)),
        row,
        after if row and after.lines else None,
        restocked,
        restocked_after,
    )


def moves(before: Holding, after: Holding) -> tuple[Move, ...]:
    """Return how stock changes when an order has `after` of it instead of `before`; unchanged products are omitted."""
    reserved, shipped = _more(before.reserved, after.reserved), _more(before.shipped, after.shipped)
    changes = {sku: (reserved.get(sku, 0), shipped.get(sku, 0)) for sku in {**reserved, **shipped}}
    return tuple(
        Move(sku, -more_reserved - more_shipped, more_reserved, more_shipped)
        for sku, (more_reserved, more_shipped) in changes.items()
        if more_reserved or more_shipped
    )


def home_shard(order_id: str, sku: str) -> int:
    """Return the number of the shard that an order tries first."""
    return zlib.crc32(f"{order_id}/{sku}".encode()) % SHARDS


def shard_size(level: Level) -> int:
    """Return how many units each further shard gets when a product is sharded; 0 if it has too few units for that."""
    size = level.available // SHARDS
    return size if size >= MIN_SHARD_SIZE else 0


def allocate(move: Move, shards: Shards, home: int) -> dict[int, Move]:
    """Return a move as moves of single shards: it takes from the shard `home` first, then from the largest, and adds to `home`.

    Raises:
        InsufficientStock: all shards together have less than it takes.
    """
    changes = {home: dict.fromkeys(_PARTS, 0)}
    for part in _PARTS:
        change: int = getattr(move, part)
        if change >= 0:
            changes[home][part] += change
            continue
        sizes: dict[int, int] = {number: getattr(level, part) for number, level in shards.items()}
        for number in sorted(sizes, key=lambda number: (number != home, -sizes[number], number)):
            taken = min(sizes[number], -change)
            if taken:
                changes.setdefault(number, dict.fromkeys(_PARTS, 0))[part] -= taken
                change += taken
        if change:
            message = f"{move.sku} lacks {-change} units that are {part}"
            raise InsufficientStock(message)
    return {number: Move(move.sku, **parts) for number, parts in changes.items() if any(parts.values())}


def differences(reserved: Mapping[str, int], held: Iterable[StockLine]) -> dict[str, int]:
    """Return the products whose stock and reservations differ: by how many units the stock has more reserved (below 0: less)."""
    left = dict(reserved)
    for line in held:
        left[line.sku] = left.get(line.sku, 0) - line.quantity
    return {sku: by for sku, by in left.items() if by}


def shortages(lines: Iterable[StockLine], available: Mapping[str, int]) -> tuple[Shortage, ...]:
    """Return the lines of products in `available` that these units cannot cover."""
    return tuple(
        Shortage(line.sku, line.quantity, available[line.sku]) for line in lines if available.get(line.sku, line.quantity) < line.quantity
    )


def _more(before: Iterable[StockLine], after: Iterable[StockLine]) -> dict[str, int]:
    """Return by how much each product is more in `after`, or less."""
    quantities: dict[str, int] = {}
    for lines, direction in ((before, -1), (after, 1)):
        for line in lines:
            quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity * direction
    return quantities
