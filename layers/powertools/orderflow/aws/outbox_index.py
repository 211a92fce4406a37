"""The sparse index of the sampled events that the log has and the bus does not have yet."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.aws.order_log import WAITING, timestamp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OUTBOX_INDEX = "unpublished"


class PendingEvent(Struct, frozen=True):
    """An event by its place in the log, and when (UTC) it happened."""

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
        """Return up to `most` events that have waited since `until` (UTC) at the latest, the one that has waited longest first."""
        page = self._client.query(
            TableName=self._table,
            IndexName=OUTBOX_INDEX,
            KeyConditionExpression="outbox = :waiting AND outbox_since <= :until",
            ExpressionAttributeValues={":waiting": {"S": WAITING}, ":until": {"S": timestamp(until)}},
            Limit=most,
        )
        return [
            PendingEvent(item["order_id"]["S"], int(item["version"]["N"]), datetime.fromisoformat(item["outbox_since"]["S"]))  # pyright: ignore[reportTypedDictNotRequiredAccess]
            for item in page["Items"]
        ]

    def clear(self, order_id: str, version: int) -> None:
        """Take an event that the bus has off the index."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"order_id": {"S": order_id}, "version": {"N": str(version)}},
                UpdateExpression="SET published = :true REMOVE outbox, outbox_since",
                ConditionExpression="attribute_exists(outbox)",
                ExpressionAttributeValues={":true": {"BOOL": True}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return
