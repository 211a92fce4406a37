"""The active-order index: active orders, and held orders."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.aws.dynamodb import decode_item, values
from orderflow.aws.order_log_items import active_shards

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.domain.order import Marker

INDEX = "open-orders"


class ActiveOrder(Struct, frozen=True):
    """An order, and the time (UTC) since which it has its marker."""

    order_id: str
    since: datetime


class ActiveOrderIndex:
    """Reads the sparse index of the order log."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Read the index of the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def oldest_first(self, marked: Marker = "open", until: datetime | None = None) -> list[ActiveOrder]:
        """Return the orders with this marker, set at `until` (UTC) or before, oldest first.

        One page of each shard is read, which holds several thousand orders. The index follows the table with a delay: an order that
        just ended may still be in it.
        """
        found = [order for shard in active_shards(marked) for order in self._of_shard(shard, until)]
        return sorted(found, key=lambda order: order.since)

    def _of_shard(self, shard: str, until: datetime | None) -> list[ActiveOrder]:
        page = self._client.query(
            TableName=self._table,
            IndexName=INDEX,
            KeyConditionExpression="open_shard = :shard" + (" AND open_since <= :until" if until else ""),
            ExpressionAttributeValues=values(shard=shard, **({"until": until} if until else {})),
        )
        return [ActiveOrder(item["order_id"], datetime.fromisoformat(item["open_since"])) for item in map(decode_item, page["Items"])]
