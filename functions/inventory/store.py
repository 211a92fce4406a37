"""The tables Stock (see `inventory.stock_shards`), Reservations and ReturnedStock.

Reservations (key `order_id`): `lines` are the reserved lines of the order, `parcels` counts the parcels that were dispatched since
(absent: none); `reserved_at` is UTC. A row exists as long as lines are reserved.

ReturnedStock (key `order_id`): the returned `lines` of the order, available again; `returns` counts its returns.

Stock changes only together with the row of its order, so the reserved units of a product always add up over the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import batched
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from inventory.domain.stock_rules import ReservedLines, RestockedLines, StockChange
from inventory.stock_shards import StockShards
from orderflow.aws import dynamodb
from orderflow.aws.dynamodb import decode_item, encode_item, key, values
from orderflow.domain.events import StockLine

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

_MAX_KEYS = 100


class Reservation(Struct, frozen=True):
    """The reserved lines of an order."""

    order_id: str
    lines: tuple[StockLine, ...]


class Inventory:
    """Reads reservations and returned stock, and builds the writes of stock changes."""

    def __init__(self, stock: str, reservations: str, returned: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB tables `stock`, `reservations` and `returned`."""
        self.shards = StockShards(stock, client)
        self._reservations = reservations
        self._returned = returned
        self._client = client

    def row_writes(self, order_id: str, change: StockChange) -> list[TransactWriteItemTypeDef]:
        """Return the writes of the order's rows; each is conditional on the row as it was before."""
        writes: list[TransactWriteItemTypeDef] = []
        if change.reserved_before != change.reserved_after:
            writes.append(self._reservation_write(order_id, change.reserved_before, change.reserved_after))
        if change.restocked_before != change.restocked_after:
            writes.append(self._restocked_write(order_id, change.restocked_before, change.restocked_after))
        return writes

    def write(self, writes: Sequence[TransactWriteItemTypeDef]) -> None:
        """Perform all writes in one transaction, in a single attempt.

        Raises:
            TransactionConditionFailed: a condition did not hold.
            TransactionConflict: another transaction held one of the items.
        """
        dynamodb.transact(self._client, (), writes, attempts=1)

    def reserved_lines(self, order_id: str) -> ReservedLines | None:
        """Return the order's reservation row, or None if there is none."""
        item = dynamodb.read_item(self._client, self._reservations, key(order_id=order_id))
        return ReservedLines(_lines(item), item.get("parcels", 0)) if item else None

    def restocked_lines(self, order_id: str) -> RestockedLines:
        """Return the order's returned stock."""
        item = dynamodb.read_item(self._client, self._returned, key(order_id=order_id))
        return RestockedLines(_lines(item), item["returns"]) if item else RestockedLines()

    def with_reservation(self, order_ids: Iterable[str]) -> set[str]:
        """Return those of the orders that have a reservation row; under load, DynamoDB may leave some out."""
        found: set[str] = set()
        for some in batched(order_ids, _MAX_KEYS, strict=False):
            request: Any = {"Keys": [key(order_id=order_id) for order_id in some], "ProjectionExpression": "order_id"}
            answer = self._client.batch_get_item(RequestItems={self._reservations: request})
            found |= {decode_item(row)["order_id"] for row in answer.get("Responses", {}).get(self._reservations, [])}
        return found

    def restore_reservation(self, order_id: str, row: ReservedLines, reserved_at: datetime) -> None:
        """Write a reservation row that the log's events require, unless the order has one."""
        parcels = {"parcels": row.parcels} if row.parcels else {}
        self._restore(self._reservations, {"order_id": order_id, "lines": _list(row.lines), "reserved_at": reserved_at, **parcels})

    def restore_restocked(self, order_id: str, row: RestockedLines) -> None:
        """Write a row of returned stock that the log's events require, unless the order has one."""
        self._restore(self._returned, {"order_id": order_id, "lines": _list(row.lines), "returns": row.returns})

    def all_reservations(self) -> Iterator[Reservation]:
        """Yield every reservation, page by page."""
        items = dynamodb.read_items(
            self._client.scan,
            TableName=self._reservations,
            ProjectionExpression="order_id, #lines",
            ExpressionAttributeNames={"#lines": "lines"},
        )
        return (Reservation(item["order_id"], _lines(item)) for item in items)

    def _restore(self, table: str, item: Mapping[str, Any]) -> None:
        try:
            dynamodb.write_item(
                self._client,
                self._client.put_item,
                TableName=table,
                Item=encode_item(item),
                ConditionExpression="attribute_not_exists(order_id)",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def _reservation_write(self, order_id: str, before: ReservedLines | None, after: ReservedLines | None) -> TransactWriteItemTypeDef:
        if before is None:
            return self._reservation_insert(order_id, after or ReservedLines())
        known = {"before": before.parcels} if before.parcels else {}
        change: Any = {
            "TableName": self._reservations,
            "Key": key(order_id=order_id),
            "ConditionExpression": "parcels = :before" if known else "attribute_exists(order_id) AND attribute_not_exists(parcels)",
        }
        if after is None:
            return {"Delete": change | ({"ExpressionAttributeValues": values(**known)} if known else {})}
        change["UpdateExpression"] = "SET #lines = :lines, parcels = :parcels"
        change["ExpressionAttributeNames"] = {"#lines": "lines"}
        change["ExpressionAttributeValues"] = values(lines=_list(after.lines), parcels=after.parcels, **known)
        return {"Update": change}

    def _reservation_insert(self, order_id: str, row: ReservedLines) -> TransactWriteItemTypeDef:
        item = {"order_id": order_id, "lines": _list(row.lines), "reserved_at": datetime.now(UTC)}
        return {
            "Put": {"TableName": self._reservations, "Item": encode_item(item), "ConditionExpression": "attribute_not_exists(order_id)"}
        }

    def _restocked_write(self, order_id: str, before: RestockedLines, after: RestockedLines) -> TransactWriteItemTypeDef:
        put: Any = {
            "TableName": self._returned,
            "Item": encode_item({"order_id": order_id, "lines": _list(after.lines), "returns": after.returns}),
            "ConditionExpression": "attribute_not_exists(order_id)",
        }
        if before.returns:
            put["ConditionExpression"] = "#returns = :before"
            put["ExpressionAttributeNames"] = {"#returns": "returns"}
            put["ExpressionAttributeValues"] = values(before=before.returns)
        return {"Put": put}


def _lines(item: Mapping[str, Any]) -> tuple[StockLine, ...]:
    return tuple(StockLine(line["sku"], line["quantity"]) for line in item["lines"])


def _list(lines: Iterable[StockLine]) -> list[dict[str, str | int]]:
    return [{"sku": line.sku, "quantity": line.quantity} for line in lines]
