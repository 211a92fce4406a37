"""Reads the events of the order log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow.aws import dynamodb
from orderflow.aws.dynamodb import values
from orderflow.aws.order_log_items import event_key
from orderflow.domain import events

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class OrderLogReader:
    """Reads the table of the order log."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Use the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def first_item(self, order_id: str) -> dict[str, Any] | None:
        """Return the item of the order's first event, or None."""
        return dynamodb.read_item(self._client, self._table, event_key(order_id, 1))

    def payment_token_v1(self, order_id: str) -> str | None:
        """Return the payment token in the item of the order's first event, where version 1.0 stored it; None for a later order."""
        items = dynamodb.read_items(
            self._client.query,
            TableName=self._table,
            KeyConditionExpression="order_id = :order_id AND #version = :first",
            ExpressionAttributeNames={"#version": "version"},
            ExpressionAttributeValues=values(order_id=order_id, first=1),
            ProjectionExpression="payment_token",
            ConsistentRead=True,
        )
        return next((item.get("payment_token") for item in items), None)

    def events_after(self, order_id: str, version: int, min_version: int | None) -> list[events.Event]:
        """Return the order's events after a version; with `min_version`, an eventually consistent read that has at least this version."""
        if min_version is not None:
            found = self._query(order_id, version, consistent=False)
            last = found[-1].order_version if found else version
            if last >= min_version and _is_complete(found, version):
                return found
        found = self._query(order_id, version, consistent=True)
        if not _is_complete(found, version):
            dynamodb.backoff(1)
            found = self._query(order_id, version, consistent=True)
        return found

    def scan_orders(self, most: int, after: tuple[str, int] | None) -> tuple[list[str], tuple[str, int] | None]:
        """Return the ids of the orders placed among the next `most` events of the log, and the last event's key, None at the end."""
        start: dict[str, Any] = {"ExclusiveStartKey": event_key(*after)} if after else {}
        page = self._client.scan(
            TableName=self._table,
            Limit=most,
            ConsistentRead=True,
            FilterExpression="#type = :placed",
            ProjectionExpression="order_id",
            ExpressionAttributeNames={"#type": "type"},
            ExpressionAttributeValues=values(placed="OrderPlaced"),
            **start,
        )
        last = dynamodb.decode_item(page.get("LastEvaluatedKey", {}))
        order_ids = [dynamodb.decode_item(item)["order_id"] for item in page["Items"]]
        return order_ids, (last["order_id"], last["version"]) if last else None

    def _query(self, order_id: str, after: int, *, consistent: bool) -> list[events.Event]:
        items = dynamodb.read_items(
            self._client.query,
            TableName=self._table,
            KeyConditionExpression="order_id = :order_id AND #version > :after",
            ExpressionAttributeNames={"#event": "event", "#version": "version"},
            ExpressionAttributeValues=values(order_id=order_id, after=after),
            ProjectionExpression="#event",
            ConsistentRead=consistent,
        )
        return [events.decode(item["event"]) for item in items]


def _is_complete(found: list[events.Event], version: int) -> bool:
    """Return whether these events follow a version without a gap: a query may see some of the events of one transaction and lack others."""
    return not found or found[-1].order_version == version + len(found)
