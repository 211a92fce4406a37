"""The tables Stock (see `inventory.stock_shards`), Reservations and ReturnedStock, in one transaction with an order's event.

Reservations (key `order_id`): `lines` is what is set aside for the order now, `parcels` how many of its parcels have
left since; `reserved_at` is UTC. There is a row as long as something is set aside, and no longer.

ReturnedStock (key `order_id`): `lines` is what came back of the order and is for sale again, of so many `returns`.

Stock changes only together with the row of the order it is for, so the reserved amount of a product is always the sum
of what the rows have set aside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import batched
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from inventory.domain import stock_rules
from inventory.domain.stock_rules import Aside, Back, Holding, Move, Settlement
from inventory.stock_shards import Shelves, Short
from orderflow.aws.dynamodb import Conflict, TransactionConditionFailed, timestamp, transact
from orderflow.domain.events import StockLine

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

# Carries out an order's event in one transaction with the writes that it is given, which it tries once.
type Write[A] = Callable[[list[TransactWriteItemTypeDef]], A]

_KEYS_AT_ONCE = 100


class Held(Struct, frozen=True):
    """What is set aside for an order."""

    order_id: str
    lines: tuple[StockLine, ...]


class Inventory:
    """Knows the tables' names and how their items look."""

    def __init__(self, stock: str, reservations: str, returned: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB tables `stock`, `reservations` and `returned`."""
        self._shelves = Shelves(stock, client)
        self._reservations = reservations
        self._returned = returned
        self._client = client

    def reserving[A](self, order_id: str, lines: Sequence[StockLine], write: Write[A]) -> A:
        """Have `write` set every line aside for an order which has no reservation yet.

        It is given one write for each line, hardly ever more, and another: with the order's event they fit into a
        transaction of 100 for up to 98 lines.

        Raises:
            Short: stock cannot cover every line.
            TransactionConditionFailed: there is a reservation.
            TransactionConflict: other transactions kept getting in the way.
        """
        return self._changing(order_id, stock_rules.moves(Holding(), Holding(tuple(lines))), self._hold(order_id, lines), write)

    def freeing[A](self, order_id: str, lines: Sequence[StockLine], write: Write[A]) -> A:
        """Have `write` give back a reservation of these lines so that it can be made again.

        Raises:
            TransactionConditionFailed: the tables do not hold it.
            TransactionConflict: other transactions kept getting in the way.
        """
        before = Aside(tuple(lines))
        moves = stock_rules.moves(Holding(before.lines), Holding())
        return self._changing(order_id, moves, self._change(order_id, before, Aside()), write)

    def releasing[A](self, order_id: str, row: Aside, moves: Iterable[Move], write: Write[A]) -> A:
        """Have `write` bring about that nothing is set aside for the order.

        Raises:
            Conflict: the row is not as it was read.
            TransactionConditionFailed: the stock does not hold what the row says.
            TransactionConflict: other transactions kept getting in the way.
        """
        try:
            return self._changing(order_id, moves, self._change(order_id, row, Aside()), write)
        except TransactionConditionFailed as failed:
            if not isinstance(failed, Short):
                raise Conflict(order_id) from None
            raise

    def settle(self, order_id: str, aside: Aside | None, back: Back, settlement: Settlement) -> bool:
        """Change stock and rows as settled, where these are as they were read; tell whether anything had to change.

        Raises:
            Conflict: a row is not as it was read.
            TransactionConditionFailed: the stock does not hold what the rows say.
            TransactionConflict: other transactions kept getting in the way.
        """
        rows: list[TransactWriteItemTypeDef] = []
        if aside and aside != settlement.aside:
            rows.append(self._change(order_id, aside, settlement.aside))
        if back != settlement.back:
            rows.append(self._put_back(order_id, back, settlement.back))
        if rows:
            self._shelves.carry_out(
                order_id, settlement.moves, lambda moving: transact(self._client, rows, moving, own=len(rows), attempts=1)
            )
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
        """Yield everything that is set aside, page by page."""
        start: dict[str, Any] = {}
        while True:
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

    def reserved(self) -> dict[str, int]:
        """Return how much of each product is reserved; those of which nothing is are left out."""
        return self._shelves.reserved()

    def _changing[A](self, order_id: str, moves: Iterable[Move], row: TransactWriteItemTypeDef, write: Write[A]) -> A:
        return self._shelves.carry_out(order_id, moves, lambda moving: write([*moving, row]))

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
