"""The sparse index of orders in work: those whose saga has something to do, and those that wait for a person."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.aws.order_log import active_shards, timestamp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.domain.order import Marker

INDEX = "open-orders"


class ActiveOrder(Struct, frozen=True):
    """An order and since when (UTC) it has its mark."""

    order_id: str
    since: datetime


class ActiveOrderIndex:
    """Reads the sparse index of the order log."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Read the index of the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def oldest_first(self, marked: Marker = "open", until: datetime | None = None) -> list[ActiveOrder]:
        """Return the orders with a mark, had since `until` (UTC) at the latest; the one that has it longest first.

        Of each shard one page is read, which holds the oldest several thousand. The index follows the
        table with a delay: an order that has just ended may still be in it.
        """
        found = [order for shard in active_shards(marked) for order in self._of_shard(shard, until)]
        return sorted(found, key=lambda order: order.since)

    def _of_shard(self, shard: str, until: datetime | None) -> list[ActiveOrder]:
        bound = {":until": {"S": timestamp(until)}} if until else {}
        page = self._client.query(
            TableName=self._table,
            IndexName=INDEX,
            KeyConditionExpression="open_shard = :shard" + (" AND open_since <= :until" if until else ""),
            ExpressionAttributeValues={":shard": {"S": shard}, **bound},
        )
        return [
            ActiveOrder(item["order_id"]["S"], datetime.fromisoformat(item["open_since"]["S"]))  # pyright: ignore[reportTypedDictNotRequiredAccess]
            for item in page["Items"]
        ]
