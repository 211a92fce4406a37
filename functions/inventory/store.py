"""The tables Stock and Reservations, as writes that go into one transaction with an order's event.

Stock (key `sku`): `available`, `reserved` and `shipped` count pieces, and add up to what was ever received.

Reservations (key `order_id`): `lines` is what is set aside for the order now, `shipped` what has left and not come
back, `state` whether anything is `held`, was `released`, or all of it `shipped`; `reserved_at` is UTC. `changes` counts
what was changed since. A row that is held is on the sparse index `held`, by `held_shard` and `reserved_at`.

Stock changes only together with the row of the order it is for, so the reserved amount of a product is always the sum
of what the rows have set aside.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import batched
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from inventory import rules
from inventory.rules import Holding, Move
from orderflow.events import StockLine
from orderflow.log import timestamp, transact

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from orderflow.events import Shortage

HELD_SHARDS = 4
INDEX = "held"
# Of a shard, of 1 MB each: some hundred thousand reservations in all.
MOST_PAGES = 50
_KEYS_AT_ONCE = 100


class NoReservation(LookupError):
    """There is no reservation of this order."""


class TooManyHeld(RuntimeError):
    """More is held than can be read at once."""


class Held(Struct, frozen=True):
    """What is set aside for an order, as the index has it, which follows the table with a delay."""

    order_id: str
    lines: tuple[StockLine, ...]


class Row(Struct, frozen=True):
    """An order's reservation as it was read; `changes` and `reserved_at` tell it from what it was before and will be."""

    order_id: str
    holding: Holding
    reserved_at: str
    changes: int = 0


class Inventory:
    """Knows the tables' names and how their items look."""

    def __init__(self, stock: str, reservations: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB tables `stock` and `reservations`."""
        self._stock = stock
        self._reservations = reservations
        self._client = client

    def reserving(self, order_id: str, lines: Sequence[StockLine]) -> list[TransactWriteItemTypeDef]:
        """Return the writes that set every line aside for an order which has no reservation yet.

        One for each line and one more: with the order's event they fit into a transaction of 100
        for up to 98 lines.
        """
        return [*(self._taking(line) for line in lines), self._hold(order_id, lines)]

    def freeing(self, order_id: str, lines: Sequence[StockLine]) -> list[TransactWriteItemTypeDef]:
        """Return the writes that give back a reservation of these lines so that it can be made again."""
        return [*self._moving(rules.moves(Holding(tuple(lines)), Holding())), self._remove(order_id)]

    def bringing(self, row: Row, due: Holding) -> list[TransactWriteItemTypeDef]:
        """Return the writes after which the order has `due` of the stock, the row's own last."""
        return [*self._moving(rules.moves(row.holding, due)), self._change(row, due)]

    def was_changed(self, reasons: Sequence[Mapping[str, Any]]) -> bool:
        """Tell from the reasons why the writes of `bringing` were cancelled whether the row is not as it was read."""
        return _is_refused(reasons[-1])

    def bring(self, row: Row, due: Holding) -> None:
        """Change stock and row so that the order has `due`.

        Raises:
            Conflict: the row is not as it was read.
            AlongsideFailed: the stock does not hold what the row says.
            Contention: other transactions kept getting in the way.
        """
        *moving, change = self.bringing(row, due)
        transact(self._client, [change], moving, own=1)

    def row(self, order_id: str) -> Row:
        """Return the order's reservation.

        Raises:
            NoReservation: it has none.
        """
        answer = self._client.get_item(TableName=self._reservations, Key={"order_id": {"S": order_id}}, ConsistentRead=True)
        if "Item" not in answer:
            raise NoReservation(order_id)
        return _row(answer["Item"])

    def held(self, order_ids: Iterable[str]) -> set[str]:
        """Return those of the orders that have a reservation which is held; now and then not all of them, under load."""
        found: set[str] = set()
        for some in batched(order_ids, _KEYS_AT_ONCE, strict=False):
            keys = [{"order_id": {"S": order_id}} for order_id in some]
            answer = self._client.batch_get_item(RequestItems={self._reservations: {"Keys": keys}})
            rows = answer.get("Responses", {}).get(self._reservations, [])
            found |= {row["order_id"]["S"] for row in rows if row["state"] == {"S": "held"}}  # pyright: ignore[reportTypedDictNotRequiredAccess]
        return found

    def all_held(self) -> Iterator[Held]:
        """Give everything that is set aside.

        Raises:
            TooManyHeld: it is more than `MOST_PAGES` pages of a shard of the index.
        """
        for shard in range(HELD_SHARDS):
            for item in self._of_shard(str(shard)):
                yield Held(item["order_id"]["S"], _lines(item["lines"]))

    def reserved(self) -> dict[str, int]:
        """Return how much of each product is reserved; those of which nothing is are left out."""
        found: dict[str, int] = {}
        start: dict[str, Any] = {}
        while True:
            page = self._client.scan(
                TableName=self._stock,
                FilterExpression="reserved <> :nothing",
                ExpressionAttributeValues={":nothing": {"N": "0"}},
                ProjectionExpression="sku, reserved",
                **start,
            )
            found |= {item["sku"]["S"]: int(item["reserved"]["N"]) for item in page["Items"]}  # pyright: ignore[reportTypedDictNotRequiredAccess]
            if "LastEvaluatedKey" not in page:
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _of_shard(self, shard: str) -> Iterator[dict[str, Any]]:
        start: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            page = self._client.query(
                TableName=self._reservations,
                IndexName=INDEX,
                KeyConditionExpression="held_shard = :shard",
                ExpressionAttributeValues={":shard": {"S": shard}},
                **start,
            )
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        message = f"more than {MOST_PAGES} pages of shard {shard}"
        raise TooManyHeld(message)

    def shortages(self, lines: Sequence[StockLine], reasons: Sequence[Mapping[str, Any]]) -> tuple[Shortage, ...]:
        """Return which lines were short, from the reasons why the writes of `reserving` were cancelled.

        Empty where stock was not the reason.
        """
        refused = {line.sku: reason for line, reason in zip(lines, reasons, strict=False) if _is_refused(reason)}
        available = {sku: _available(reason.get("Item", {})) for sku, reason in refused.items()}
        return rules.shortages([line for line in lines if line.sku in refused], available)

    def _taking(self, line: StockLine) -> TransactWriteItemTypeDef:
        return {
            "Update": {
                "TableName": self._stock,
                "Key": {"sku": {"S": line.sku}},
                "UpdateExpression": "SET available = available - :quantity, reserved = reserved + :quantity",
                "ConditionExpression": "available >= :quantity",
                "ExpressionAttributeValues": {":quantity": {"N": str(line.quantity)}},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _moving(self, changes: Iterable[Move]) -> Iterator[TransactWriteItemTypeDef]:
        for move in changes:
            parts = {"available": move.available, "reserved": move.reserved, "shipped": move.shipped}
            taken = [name for name, change in parts.items() if change < 0]
            yield {
                "Update": {
                    "TableName": self._stock,
                    "Key": {"sku": {"S": move.sku}},
                    "UpdateExpression": "ADD available :available, reserved :reserved, shipped :shipped",
                    "ConditionExpression": " AND ".join(f"{name} >= :least_{name}" for name in taken),
                    "ExpressionAttributeValues": {
                        **{f":{name}": {"N": str(change)} for name, change in parts.items()},
                        **{f":least_{name}": {"N": str(-parts[name])} for name in taken},
                    },
                }
            }

    def _hold(self, order_id: str, lines: Sequence[StockLine]) -> TransactWriteItemTypeDef:
        return {
            "Put": {
                "TableName": self._reservations,
                "Item": {
                    "order_id": {"S": order_id},
                    "state": {"S": "held"},
                    "lines": _list(lines),
                    "reserved_at": {"S": timestamp(datetime.now(UTC))},
                    "held_shard": {"S": _shard(order_id)},
                },
                "ConditionExpression": "attribute_not_exists(order_id)",
            }
        }

    def _remove(self, order_id: str) -> TransactWriteItemTypeDef:
        return {
            "Delete": {
                "TableName": self._reservations,
                "Key": {"order_id": {"S": order_id}},
                "ConditionExpression": "#state = :held",
                "ExpressionAttributeNames": {"#state": "state"},
                "ExpressionAttributeValues": {":held": {"S": "held"}},
            }
        }

    def _change(self, row: Row, due: Holding) -> TransactWriteItemTypeDef:
        known = "changes = :changes" if row.changes else "attribute_not_exists(changes)"
        before = {":changes": {"N": str(row.changes)}} if row.changes else {}
        return {
            "Update": {
                "TableName": self._reservations,
                "Key": {"order_id": {"S": row.order_id}},
                "UpdateExpression": "SET #state = :state, #lines = :lines, shipped = :shipped, changes = :next"
                + ("" if due.reserved else " REMOVE held_shard"),
                "ConditionExpression": f"reserved_at = :reserved_at AND {known}",
                "ExpressionAttributeNames": {"#state": "state", "#lines": "lines"},
                "ExpressionAttributeValues": {
                    ":state": {"S": _state(due)},
                    ":lines": _list(due.reserved),
                    ":shipped": _list(due.shipped),
                    ":next": {"N": str(row.changes + 1)},
                    ":reserved_at": {"S": row.reserved_at},
                    **before,
                },
            }
        }


def _shard(order_id: str) -> str:
    return str(zlib.crc32(order_id.encode()) % HELD_SHARDS)


def _state(holding: Holding) -> str:
    if holding.reserved:
        return "held"
    return "shipped" if holding.shipped else "released"


def _row(item: Mapping[str, Any]) -> Row:
    # What was released before rows said what they hold still names its lines.
    reserved = _lines(item["lines"]) if item["state"]["S"] == "held" else ()
    holding = Holding(reserved, _lines(item.get("shipped", {"L": []})))
    return Row(item["order_id"]["S"], holding, item["reserved_at"]["S"], int(item.get("changes", {}).get("N", 0)))


def _lines(value: Mapping[str, Any]) -> tuple[StockLine, ...]:
    return tuple(StockLine(line["M"]["sku"]["S"], int(line["M"]["quantity"]["N"])) for line in value["L"])


def _list(lines: Iterable[StockLine]) -> dict[str, Any]:
    return {"L": [{"M": {"sku": {"S": line.sku}, "quantity": {"N": str(line.quantity)}}} for line in lines]}


def _is_refused(reason: Mapping[str, Any]) -> bool:
    return reason.get("Code") == "ConditionalCheckFailed"


def _available(item: Mapping[str, Any]) -> int:
    return int(item.get("available", {}).get("N", 0))
