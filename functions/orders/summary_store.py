"""The order view: a table with a row per order, by customer and newest first. It can be rebuilt from the order log."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from orderflow.aws import dynamodb
from orderflow.aws.cursor import Position
from orderflow.aws.dynamodb import timestamp
from orderflow.domain.money import Money
from orders.summaries import Row

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Key = dict[str, Any]

# A filtered page reads at most _MAX_READS times _FILTERED_READ rows.
_FILTERED_READ = 250
_MAX_READS = 8


class OrderView:
    """Reads and writes rows of the order view."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def put(self, row: Row) -> bool:
        """Write an order's row unless the table has this or a later version; return whether it was written."""
        try:
            self._client.put_item(
                TableName=self._table,
                Item=dynamodb.encode_item(_item(row)),
                ConditionExpression="attribute_not_exists(customer_id) OR #version < :version",
                ExpressionAttributeNames={"#version": "version"},
                ExpressionAttributeValues=dynamodb.values(version=row.version),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def page(self, customer_id: str, *, state: str | None, limit: int, after: Position | None) -> tuple[list[Row], Position | None]:
        """Return up to `limit` rows of a customer, newest first, and the position after which the next page starts, None at the end.

        A filtered page reads a bounded number of rows, so it may be short, or empty, although more rows follow.
        """
        found: list[Row] = []
        for _ in range(_MAX_READS):
            items, after = self._read(customer_id, state, _FILTERED_READ if state else limit + 1, after)
            found += map(_row, items)
            if len(found) > limit:
                return found[:limit], _position(found[limit - 1])
            if after is None:
                break
        return found, after

    def delete_some(self, at_once: int) -> int:
        """Delete up to `at_once` rows in any order and return their number."""
        items = self._client.scan(TableName=self._table, Limit=at_once, ProjectionExpression="customer_id, place")["Items"]
        for key in items:
            self._client.delete_item(TableName=self._table, Key=key)
        return len(items)

    def _read(
        self, customer_id: str, state: str | None, at_once: int, after: Position | None
    ) -> tuple[list[dict[str, Any]], Position | None]:
        wanted: Any = {"Limit": at_once, "ExpressionAttributeValues": dynamodb.values(customer=customer_id)}
        if state:
            wanted |= {"FilterExpression": "#state = :state", "ExpressionAttributeNames": {"#state": "state"}}
            wanted["ExpressionAttributeValues"] |= dynamodb.values(state=state)
        if after:
            wanted["ExclusiveStartKey"] = dynamodb.key(customer_id=customer_id, place=_sort_key(after))
        answer = self._client.query(
            TableName=self._table, KeyConditionExpression="customer_id = :customer", ScanIndexForward=False, **wanted
        )
        last = dynamodb.decode_item(answer.get("LastEvaluatedKey", {}))
        items = [dynamodb.decode_item(item) for item in answer["Items"]]
        return items, Position(*last["place"].split("#", 1)) if last else None


def _position(row: Row) -> Position:
    return Position(timestamp(row.placed_at), row.order_id)


def _sort_key(position: Position) -> str:
    return f"{position.moment}#{position.order_id}"


def _item(row: Row) -> dict[str, Any]:
    return {
        "customer_id": row.customer_id,
        "place": _sort_key(_position(row)),
        "order_id": row.order_id,
        "placed_at": timestamp(row.placed_at),
        "state": row.state,
        "amount": row.total.amount,
        "currency": row.total.currency,
        "items": row.items,
        "version": row.version,
        "updated_at": timestamp(row.updated_at),
    }


def _row(item: dict[str, Any]) -> Row:
    return Row(
        customer_id=item["customer_id"],
        order_id=item["order_id"],
        placed_at=datetime.fromisoformat(item["placed_at"]),
        state=item["state"],
        total=Money(item["amount"], item["currency"]),
        items=item["items"],
        version=item["version"],
        updated_at=datetime.fromisoformat(item["updated_at"]),
    )
