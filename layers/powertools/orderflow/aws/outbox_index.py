"""The outbox index: sampled events that the log has and that the publisher has not put on the bus yet."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.aws.dynamodb import decode_item, key, values, write_item
from orderflow.aws.order_log_items import PENDING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OUTBOX_INDEX = "unpublished"


class PendingEvent(Struct, frozen=True):
    """An event by its key in the log, and the time (UTC) since which it is pending."""

    order_id: str
    version: int
    since: datetime


class OutboxIndex:
    """Reads and clears the sparse index of the order log."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def oldest_first(self, until: datetime, most: int) -> list[PendingEvent]:
        """Return up to `most` events that are pending since `until` (UTC) or before, oldest first."""
        page = self._client.query(
            TableName=self._table,
            IndexName=OUTBOX_INDEX,
            KeyConditionExpression="outbox = :waiting AND outbox_since <= :until",
            ExpressionAttributeValues=values(waiting=PENDING, until=until),
            Limit=most,
        )
        return [
            PendingEvent(item["order_id"], item["version"], datetime.fromisoformat(item["outbox_since"]))
            for item in map(decode_item, page["Items"])
        ]

    def clear(self, order_id: str, version: int) -> None:
        """Remove a published event from the index."""
        try:
            write_item(
                self._client,
                self._client.update_item,
                TableName=self._table,
                Key=key(order_id=order_id, version=version),
                UpdateExpression="SET published = :true REMOVE outbox, outbox_since",
                ConditionExpression="attribute_exists(outbox)",
                ExpressionAttributeValues=values(true=True),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return
