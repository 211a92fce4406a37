"""The table Stock: every product on one shelf, and one that many orders want at once on several.

| key `sku` | |
|---|---|
| `MUG-BLUE` | a product's first shelf, and its only one unless orders got into each other's way; `shelves` says on how many it is |
| `MUG-BLUE#1` to `MUG-BLUE#15` | its further ones |

`available`, `reserved` and `shipped` count pieces. Over the shelves of a product they add up to what was ever received.

Of two transactions that meet at a row DynamoDB cancels one, so one row takes few orders a second however often they are tried
again. Who meets others at a product twice in a row spreads it, and orders divide themselves among its shelves. Nothing is read
for that while a product lies on one shelf, or an order finds what it needs on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from inventory.domain import stock_rules
from inventory.domain.stock_rules import Level, Move, Overdrawn
from orderflow.aws.dynamodb import (
    ATTEMPTS,
    CancellationReason,
    Conflict,
    TransactionConditionFailed,
    TransactionConflict,
    backoff,
    decode_item,
    transact,
)
from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

# Beside those of a transaction there are two others at least: the order's event and its row.
MOST_WRITES = 98
_SEPARATOR = "#"


class Short(TransactionConditionFailed):
    """There is not as much as would be taken. `available` says what there is of the products of which it is too little."""

    def __init__(self, reasons: Sequence[CancellationReason], available: Mapping[str, int]) -> None:
        """Keep what there is."""
        super().__init__(reasons)
        self.available = available


class _Place(Struct, frozen=True):
    shelf: int
    move: Move


class Shelves:
    """Knows the table's name, how its items look, and which products it has seen to be spread."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client
        self._spread = set[str]()

    def carry_out[A](self, order_id: str, moves: Iterable[Move], write: Callable[[list[TransactWriteItemTypeDef]], A]) -> A:
        """Have `write` carry out moves for an order, on the shelves where they can be.

        `write` is given the writes and tries once to carry them out in one transaction, in which they come first of what is alongside.

        Raises:
            Short: there is not as much as would be taken.
            TransactionConditionFailed: the condition of another write did not hold.
            TransactionConflict: other transactions kept getting in the way.
            Conflict: as `write` does.
        """
        own = [self._own(order_id, move) for move in moves]
        places = own
        contended = TransactionConflict()
        for attempt in range(ATTEMPTS):
            if attempt:
                backoff(attempt)
            try:
                return write([self._writing(place) for place in places])
            except TransactionConflict as met:
                contended = met
                if attempt and self._make_room(_of(places, met.reasons, "TransactionConflict")):
                    places = own = [self._own(order_id, place.move) for place in own]
            except TransactionConditionFailed as failed:
                places = self._elsewhere(own, places, failed.reasons)
        raise contended

    def reserved(self) -> dict[str, int]:
        """Return how much of each product is reserved; those of which nothing is are left out."""
        found: dict[str, int] = {}
        start: dict[str, Any] = {}
        while True:
            page = self._client.scan(
                TableName=self._table,
                FilterExpression="reserved <> :nothing",
                ExpressionAttributeValues={":nothing": {"N": "0"}},
                ProjectionExpression="sku, reserved",
                **start,
            )
            items: list[Any] = page["Items"]
            for item in items:
                sku = item["sku"]["S"].partition(_SEPARATOR)[0]
                found[sku] = found.get(sku, 0) + int(item["reserved"]["N"])
            if "LastEvaluatedKey" not in page:
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _own(self, order_id: str, move: Move) -> _Place:
        return _Place(stock_rules.shelf(order_id, move.sku) if move.sku in self._spread else 0, move)

    def _elsewhere(self, own: Sequence[_Place], places: Sequence[_Place], reasons: Sequence[CancellationReason]) -> list[_Place]:
        """Return where the moves can be carried out that could not at `places`.

        Raises:
            Short: nowhere.
            TransactionConditionFailed: they were not what could not be carried out.
        """
        refused = _of(places, reasons, "ConditionalCheckFailed")
        if not refused or any(map(_is_refused, reasons[len(places) :])):
            raise TransactionConditionFailed(reasons)
        first = {place.move.sku: reason.item for place, reason in zip(places, reasons, strict=False) if _is_refused(reason)}
        self._spread |= {sku for sku, item in first.items() if "shelves" in item}
        drawn: dict[str, list[_Place]] = {}
        missing: dict[str, int] = {}
        for place in own:
            sku = place.move.sku
            if sku not in self._spread:
                if sku in refused:
                    missing[sku] = _level(first[sku]).available
            elif sku in refused or sum(one.move.sku == sku for one in places) > 1:
                levels = self._levels(sku)
                try:
                    drawn[sku] = [_Place(*one) for one in stock_rules.drawn(place.move, levels, place.shelf).items()]
                except Overdrawn:
                    missing[sku] = sum(level.available for level in levels.values())
        found = [one for place in own for one in drawn.get(place.move.sku, [place])]
        if missing or len(found) > MOST_WRITES:
            raise Short(reasons, missing)
        return found

    def _make_room(self, skus: set[str]) -> bool:
        """Spread those of the products that lie on one shelf and are enough for several; tell whether any is spread now."""
        found = {sku for sku in sorted(skus - self._spread) if self._is_spread(sku)}
        self._spread |= found
        return bool(found)

    def _is_spread(self, sku: str) -> bool:
        key: Any = {"sku": {"S": self._name(sku, 0)}}
        item: dict[str, Any] = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item", {})
        item = decode_item(item)
        return "shelves" in item or self._spread_out(sku, _level(item))

    def _spread_out(self, sku: str, level: Level) -> bool:
        """Put a part of a product on further shelves; tell whether that was done."""
        share = stock_rules.share(level)
        if not share:
            return False
        left = Move(sku, -share * (stock_rules.SHELVES - 1), 0, 0)
        first: Any = self._writing(_Place(0, left))
        first["Update"]["UpdateExpression"] += " SET shelves = :shelves"
        first["Update"]["ConditionExpression"] += " AND attribute_not_exists(shelves)"
        first["Update"]["ExpressionAttributeValues"][":shelves"] = {"N": str(stock_rules.SHELVES)}
        further = [self._writing(_Place(number, Move(sku, share, 0, 0))) for number in range(1, stock_rules.SHELVES)]
        try:
            transact(self._client, [first], further, own=1, attempts=1)
        except (Conflict, TransactionConflict):
            return False
        logger.info("spread over shelves", sku=sku, shelves=stock_rules.SHELVES, pieces=share)
        return True

    def _levels(self, sku: str) -> dict[int, Level]:
        """Return what is on each shelf of a product, by its number.

        Raises:
            TransactionConflict: under load not all of them were read.
        """
        keys = {self._name(sku, number): number for number in range(stock_rules.SHELVES)}
        asked: Any = {self._table: {"Keys": [{"sku": {"S": name}} for name in keys], "ConsistentRead": True}}
        found: dict[int, Level] = {}
        for attempt in range(ATTEMPTS):
            if attempt:
                backoff(attempt)
            answer: Any = self._client.batch_get_item(RequestItems=asked)
            found |= {keys[item["sku"]]: _level(item) for item in map(decode_item, answer["Responses"].get(self._table, []))}
            asked = answer.get("UnprocessedKeys")
            if not asked:
                return found
        # Of the rest nobody knows: the order is not short.
        raise TransactionConflict

    def _writing(self, place: _Place) -> TransactWriteItemTypeDef:
        parts = {"available": place.move.available, "reserved": place.move.reserved, "shipped": place.move.shipped}
        taken = [name for name, change in parts.items() if change < 0]
        update: Any = {
            "TableName": self._table,
            "Key": {"sku": {"S": self._name(place.move.sku, place.shelf)}},
            "UpdateExpression": "ADD available :available, reserved :reserved, shipped :shipped",
            "ExpressionAttributeValues": {
                **{f":{name}": {"N": str(change)} for name, change in parts.items()},
                **{f":least_{name}": {"N": str(-parts[name])} for name in taken},
            },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if taken:
            update["ConditionExpression"] = " AND ".join(f"{name} >= :least_{name}" for name in taken)
        return {"Update": update}

    def _name(self, sku: str, shelf: int) -> str:
        return f"{sku}{_SEPARATOR}{shelf}" if shelf else sku


def _of(places: Sequence[_Place], reasons: Sequence[CancellationReason], code: str) -> set[str]:
    """Return the products whose writes were the reason."""
    return {place.move.sku for place, reason in zip(places, reasons, strict=False) if reason.code == code}


def _is_refused(reason: CancellationReason) -> bool:
    return reason.is_condition_failed


def _level(item: Mapping[str, Any]) -> Level:
    available, reserved, shipped = (item.get(part, 0) for part in ("available", "reserved", "shipped"))
    return Level(available, reserved, shipped)
