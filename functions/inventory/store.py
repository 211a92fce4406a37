"""The tables Stock, Reservations and ReturnedStock, as writes that go into one transaction with an order's event.

Stock (key `sku`): `available`, `reserved` and `shipped` count pieces, and add up to what was ever received.

Reservations (key `order_id`): `lines` is what is set aside for the order now, `parcels` how many of its parcels have
left since; `reserved_at` is UTC. There is a row as long as something is set aside, and no longer.

ReturnedStock (key `order_id`): `lines` is what came back of the order and is for sale again, of so many `returns`.

Stock changes only together with the row of the order it is for, so the reserved amount of a product is always the sum
of what the rows have set aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import batched
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from inventory import rules
from inventory.rules import Aside, Back, Holding, Move, Settlement
from orderflow.events import StockLine
from orderflow.log import timestamp, transact

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from orderflow.events import Shortage

# Of 1 MB each: some hundred thousand reservations.
MOST_PAGES = 200
_KEYS_AT_ONCE = 100


class TooManyHeld(RuntimeError):
    """More is held than can be read at once."""


class Held(Struct, frozen=True):
    """What is set aside for an order."""

    order_id: str
    lines: tuple[StockLine, ...]


class Inventory:
    """Knows the tables' names and how their items look."""

    def __init__(self, stock: str, reservations: str, returned: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB tables `stock`, `reservations` and `returned`."""
        self._stock = stock
        self._reservations = reservations
        self._returned = returned
        self._client = client

    def reserving(self, order_id: str, lines: Sequence[StockLine]) -> list[TransactWriteItemTypeDef]:
        """Return the writes that set every line aside for an order which has no reservation yet.

        One for each line and one more: with the order's event they fit into a transaction of 100
        for up to 98 lines.
        """
        return [*(self._taking(line) for line in lines), self._hold(order_id, lines)]

    def freeing(self, order_id: str, lines: Sequence[StockLine]) -> list[TransactWriteItemTypeDef]:
        """Return the writes that give back a reservation of these lines so that it can be made again."""
        before = Aside(tuple(lines))
        return [*self._moving(rules.moves(Holding(before.lines), Holding())), self._change(order_id, before, Aside())]

    def releasing(self, order_id: str, row: Aside, moves: Iterable[Move]) -> list[TransactWriteItemTypeDef]:
        """Return the writes after which nothing is set aside for the order, its row's own last."""
        return [*self._moving(moves), self._change(order_id, row, Aside())]

    def was_changed(self, reasons: Sequence[Mapping[str, Any]]) -> bool:
        """Tell from the reasons why the writes of `releasing` were cancelled whether the row is not as it was read."""
        return _is_refused(reasons[-1])

    def settle(self, order_id: str, aside: Aside | None, back: Back, settlement: Settlement) -> bool:
        """Change stock and rows as settled, where these are as they were read; tell whether anything had to change.

        Raises:
            Conflict: a row is not as it was read.
            AlongsideFailed: the stock does not hold what the rows say.
            Contention: other transactions kept getting in the way.
        """
        rows: list[TransactWriteItemTypeDef] = []
        if aside and aside != settlement.aside:
            rows.append(self._change(order_id, aside, settlement.aside))
        if back != settlement.back:
            rows.append(self._put_back(order_id, back, settlement.back))
        if rows:
            transact(self._client, rows, list(self._moving(settlement.moves)), own=len(rows))
        return bool(rows)

    def aside(self, order_id: str) -> Aside | None:
        """Return what is set aside for the order, or None where nothing is."""
        item = self._row(self._reservations, order_id)
        return Aside(_lines(item["lines"]), int(item.get("parcels", {}).get("N", 0))) if item else None

    def back(self, order_id: str) -> Back:
        """Return what came back of the order and is for sale again."""
        item = self._row(self._returned, order_id)
        return Back(_lines(item["lines"]), int(item["returns"]["N"])) if item else Back()

    def held(self, order_ids: Iterable[str]) -> set[str]:
        """Return those of the orders for which something is set aside; now and then not all of them, under load."""
        found: set[str] = set()
        for some in batched(order_ids, _KEYS_AT_ONCE, strict=False):
            keys = [{"order_id": {"S": order_id}} for order_id in some]
            request: Any = {"Keys": keys, "ProjectionExpression": "order_id"}
            answer = self._client.batch_get_item(RequestItems={self._reservations: request})
            rows = answer.get("Responses", {}).get(self._reservations, [])
            found |= {row["order_id"]["S"] for row in rows}  # pyright: ignore[reportTypedDictNotRequiredAccess]
        return found

    def all_held(self) -> Iterator[Held]:
        """Give everything that is set aside.

        Raises:
            TooManyHeld: it is more than `MOST_PAGES` pages of the table.
        """
        start: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            page = self._client.scan(
                TableName=self._reservations,
                ProjectionExpression="order_id, #lines",
                ExpressionAttributeNames={"#lines": "lines"},
                **start,
            )
            items: list[Any] = page["Items"]
            yield from (Held(item["order_id"]["S"], _lines(item["lines"])) for item in items)
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        message = f"more than {MOST_PAGES} pages"
        raise TooManyHeld(message)

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
                    "lines": _list(lines),
                    "reserved_at": {"S": timestamp(datetime.now(UTC))},
                },
                "ConditionExpression": "attribute_not_exists(order_id)",
            }
        }

    def _change(self, order_id: str, before: Aside, after: Aside) -> TransactWriteItemTypeDef:
        """Return the write of an order's row, which goes with the last of what is set aside."""
        known = {":before": {"N": str(before.parcels)}} if before.parcels else {}
        change: Any = {
            "TableName": self._reservations,
            "Key": {"order_id": {"S": order_id}},
            "ConditionExpression": "parcels = :before" if known else "attribute_exists(order_id) AND attribute_not_exists(parcels)",
        }
        if not after.lines:
            return {"Delete": change | ({"ExpressionAttributeValues": known} if known else {})}
        change["UpdateExpression"] = "SET #lines = :lines, parcels = :parcels"
        change["ExpressionAttributeNames"] = {"#lines": "lines"}
        change["ExpressionAttributeValues"] = {":lines": _list(after.lines), ":parcels": {"N": str(after.parcels)}, **known}
        return {"Update": change}

    def _put_back(self, order_id: str, before: Back, after: Back) -> TransactWriteItemTypeDef:
        put: Any = {
            "TableName": self._returned,
            "Item": {"order_id": {"S": order_id}, "lines": _list(after.lines), "returns": {"N": str(after.returns)}},
            "ConditionExpression": "attribute_not_exists(order_id)",
        }
        if before.returns:
            put["ConditionExpression"] = "#returns = :before"
            put["ExpressionAttributeNames"] = {"#returns": "returns"}
            put["ExpressionAttributeValues"] = {":before": {"N": str(before.returns)}}
        return {"Put": put}

    def _row(self, table: str, order_id: str) -> dict[str, Any] | None:
        answer = self._client.get_item(TableName=table, Key={"order_id": {"S": order_id}}, ConsistentRead=True)
        return answer.get("Item")


def _lines(value: Mapping[str, Any]) -> tuple[StockLine, ...]:
    return tuple(StockLine(line["M"]["sku"]["S"], int(line["M"]["quantity"]["N"])) for line in value["L"])


def _list(lines: Iterable[StockLine]) -> dict[str, Any]:
    return {"L": [{"M": {"sku": {"S": line.sku}, "quantity": {"N": str(line.quantity)}}} for line in lines]}


def _is_refused(reason: Mapping[str, Any]) -> bool:
    return reason.get("Code") == "ConditionalCheckFailed"


def _available(item: Mapping[str, Any]) -> int:
    return int(item.get("available", {}).get("N", 0))
