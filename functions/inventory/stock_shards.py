"""The table Stock: one row for each product, and several rows (shards) for a product that many orders want at once.

`orderflow.aws.stock_levels` describes the keys of the rows. `available`, `reserved` and `shipped` count units. Over the shards of a
product they add up to the number of units ever received.

Of two transactions that write the same row DynamoDB cancels one, so one row takes few orders a second, however often they are
retried. An order that meets such a conflict twice in a row shards the product; orders then spread over its shards. No extra read
is needed while a product has one row, or while an order finds its units on its home shard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from inventory.domain import stock_rules
from inventory.domain.stock_rules import InsufficientStock, Level, Move
from orderflow.aws import dynamodb
from orderflow.aws.dynamodb import CancellationReason, Conflict, TransactionConditionFailed, TransactionConflict, encode_item, key, values
from orderflow.aws.observability import logger
from orderflow.aws.stock_levels import shard_name, sku_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

# The other two writes of a transaction are the order's event and its row.
MAX_STOCK_WRITES = 98

type Correction = Literal["corrected", "right", "unknown"]


class OutOfStock(RuntimeError):
    """The stock cannot cover the moves. `available` has the units of each product that is short."""

    def __init__(self, available: Mapping[str, int]) -> None:
        """Create the error for these units by product."""
        super().__init__(available)
        self.available = available


class Placement(Struct, frozen=True):
    """A move on one shard."""

    shard: int
    move: Move


class Allocation(Struct, frozen=True):
    """The shards to which moves are written: `home` for the first attempt, `placements` for the present one."""

    home: tuple[Placement, ...]
    placements: tuple[Placement, ...]


class StockShards:
    """Reads and builds items of the table Stock, and caches which products are sharded."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client
        self._sharded = set[str]()

    def allocation(self, order_id: str, moves: Iterable[Move]) -> Allocation:
        """Return the allocation for the first attempt of an order's moves."""
        home = tuple(Placement(stock_rules.home_shard(order_id, move.sku) if move.sku in self._sharded else 0, move) for move in moves)
        return Allocation(home, home)

    def writes(self, allocation: Allocation) -> list[TransactWriteItemTypeDef]:
        """Return the writes of an allocation, one for each of its placements."""
        return [self._write(placement) for placement in allocation.placements]

    def after_conflict(self, order_id: str, allocation: Allocation, reasons: Sequence[CancellationReason]) -> Allocation:
        """Shard the products whose rows other transactions held, if they have enough units; return the allocation for the next attempt."""
        contended = {placement.move.sku for placement, reason in _pairs(allocation, reasons) if reason.is_conflict}
        sharded = {sku for sku in sorted(contended - self._sharded) if self._is_sharded(sku)}
        self._sharded |= sharded
        return self.allocation(order_id, (placement.move for placement in allocation.home)) if sharded else allocation

    def after_shortage(self, allocation: Allocation, reasons: Sequence[CancellationReason]) -> Allocation:
        """Return an allocation to other shards for moves whose shards had too few units.

        Raises:
            OutOfStock: all shards together have too few.
            TransactionConditionFailed: another write of the transaction failed its condition.
        """
        short = {placement.move.sku: reason.item for placement, reason in _pairs(allocation, reasons) if reason.is_condition_failed}
        if not short or any(reason.is_condition_failed for reason in reasons[len(allocation.placements) :]):
            raise TransactionConditionFailed(reasons)
        self._sharded |= {sku for sku, item in short.items() if "shelves" in item}
        missing = {sku: _level(item).available for sku, item in short.items() if sku not in self._sharded}
        allocated = self._reallocate(allocation, short, missing)
        if missing or len(allocated) > MAX_STOCK_WRITES:
            raise OutOfStock(missing)
        return replace(allocation, placements=tuple(allocated))

    def reserved(self) -> dict[str, int]:
        """Return how many units of each product are reserved; products without are left out.

        A row whose goods were received before its first order has no attribute `reserved`, and DynamoDB finds it different from zero.
        """
        found: dict[str, int] = {}
        for item in dynamodb.read_items(
            self._client.scan,
            TableName=self._table,
            FilterExpression="reserved <> :zero",
            ExpressionAttributeValues=values(zero=0),
            ProjectionExpression="sku, reserved",
        ):
            sku = sku_of(item["sku"])
            found[sku] = found.get(sku, 0) + item.get("reserved", 0)
        return found

    def correct(self, sku: str, reserved: int, shipped: int) -> Correction:
        """Move units between available, reserved and shipped until a product has these; its units received stay the same.

        A product without a row gets one without available units, and is `unknown`.

        Raises:
            OutOfStock: the product has fewer units.
            TransactionConflict, TransactionConditionFailed: another transaction changed the rows.
        """
        levels = self._levels(sku)
        if not levels:
            self._client.put_item(
                TableName=self._table, Item=encode_item({"sku": sku, "available": 0, "reserved": reserved, "shipped": shipped})
            )
            return "unknown"
        more_reserved = reserved - sum(level.reserved for level in levels.values())
        more_shipped = shipped - sum(level.shipped for level in levels.values())
        if not more_reserved and not more_shipped:
            return "right"
        move = Move(sku, -more_reserved - more_shipped, more_reserved, more_shipped)
        try:
            placements = tuple(Placement(*one) for one in stock_rules.allocate(move, levels, 0).items())
        except InsufficientStock:
            raise OutOfStock({sku: sum(level.available for level in levels.values())}) from None
        dynamodb.transact(self._client, (), [self._write(one) for one in placements])
        return "corrected"

    def _reallocate(self, allocation: Allocation, short: Mapping[str, object], missing: dict[str, int]) -> list[Placement]:
        """Return the placements of all moves; add products of which all shards together have too few to `missing`."""
        found: list[Placement] = []
        for home in allocation.home:
            sku = home.move.sku
            placements = [one for one in allocation.placements if one.move.sku == sku]
            if sku not in self._sharded or (sku not in short and len(placements) == 1):
                found.append(home)
                continue
            levels = self._levels(sku)
            try:
                found += (Placement(*one) for one in stock_rules.allocate(home.move, levels, home.shard).items())
            except InsufficientStock:
                missing[sku] = sum(level.available for level in levels.values())
        return found

    def _is_sharded(self, sku: str) -> bool:
        item = dynamodb.read_item(self._client, self._table, key(sku=shard_name(sku, 0))) or {}
        return "shelves" in item or self._shard(sku, _level(item))

    def _shard(self, sku: str, level: Level) -> bool:
        """Move a part of a product's units to further shards; return whether that succeeded."""
        size = stock_rules.shard_size(level)
        if not size:
            return False
        first: Any = self._write(Placement(0, Move(sku, -size * (stock_rules.SHARDS - 1), 0, 0)))
        first["Update"]["UpdateExpression"] += " SET shelves = :shelves"
        first["Update"]["ConditionExpression"] += " AND attribute_not_exists(shelves)"
        first["Update"]["ExpressionAttributeValues"] |= values(shelves=stock_rules.SHARDS)
        further = [self._write(Placement(number, Move(sku, size, 0, 0))) for number in range(1, stock_rules.SHARDS)]
        try:
            dynamodb.transact(self._client, [first], further, attempts=1)
        except (Conflict, TransactionConflict):
            return False
        logger.info("product_sharded", sku=sku, shards=stock_rules.SHARDS, shard_size=size)
        return True

    def _levels(self, sku: str) -> dict[int, Level]:
        """Return the level of each shard of a product, by its number.

        Raises:
            TransactionConflict: under load not all of them were read.
        """
        numbers = {shard_name(sku, number): number for number in range(stock_rules.SHARDS)}
        keys = [key(sku=name) for name in numbers]
        items = dynamodb.read_batch(self._client, self._table, keys)
        if len(items) < max((item.get("shelves", 0) for item in items), default=0):
            # A batch may see a part of the transaction that shards the product, and too few units. A moment later it is complete.
            dynamodb.backoff(1)
            items = dynamodb.read_batch(self._client, self._table, keys)
        return {numbers[item["sku"]]: _level(item) for item in items}

    def _write(self, placement: Placement) -> TransactWriteItemTypeDef:
        move = placement.move
        parts = {"available": move.available, "reserved": move.reserved, "shipped": move.shipped}
        taken = {f"least_{name}": -change for name, change in parts.items() if change < 0}
        update: Any = {
            "TableName": self._table,
            "Key": key(sku=shard_name(move.sku, placement.shard)),
            "UpdateExpression": "ADD available :available, reserved :reserved, shipped :shipped",
            "ExpressionAttributeValues": values(**parts, **taken),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if taken:
            update["ConditionExpression"] = " AND ".join(f"{name} >= :least_{name}" for name, change in parts.items() if change < 0)
        return {"Update": update}


def _pairs(allocation: Allocation, reasons: Sequence[CancellationReason]) -> Iterable[tuple[Placement, CancellationReason]]:
    return zip(allocation.placements, reasons, strict=False)


def _level(item: Mapping[str, int]) -> Level:
    return Level(item.get("available", 0), item.get("reserved", 0), item.get("shipped", 0))
