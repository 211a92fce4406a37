"""The index of open orders: those whose saga has not brought them to an end or to a person."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.log import OPEN_SHARDS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INDEX = "open-orders"


class OpenOrder(Struct, frozen=True):
    """An order and since when (UTC) it has been open, without a pause for a person's review."""

    order_id: str
    since: datetime


class OpenOrders:
    """Reads the sparse index of the order log."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Read the index of the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def oldest_first(self) -> list[OpenOrder]:
        """Return the open orders, the one that has been open longest first.

        Of each shard one page is read, which holds the oldest several thousand. The index follows the
        table with a delay: an order that has just ended may still be in it.
        """
        found = [order for shard in range(OPEN_SHARDS) for order in self._of_shard(str(shard))]
        return sorted(found, key=lambda order: order.since)

    def _of_shard(self, shard: str) -> list[OpenOrder]:
        page = self._client.query(
            TableName=self._table,
            IndexName=INDEX,
            KeyConditionExpression="open_shard = :shard",
            ExpressionAttributeValues={":shard": {"S": shard}},
        )
        return [
            OpenOrder(item["order_id"]["S"], datetime.fromisoformat(item["open_since"]["S"]))  # pyright: ignore[reportTypedDictNotRequiredAccess]
            for item in page["Items"]
        ]
