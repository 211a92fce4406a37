"""Writes the active-order markers of the order log (see `order_log_items`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow.aws.dynamodb import values, write_item
from orderflow.aws.observability import logger
from orderflow.aws.order_log_items import active_marker, active_shard, event_key
from orderflow.domain.order import marker

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from orderflow.domain.events import Event
    from orderflow.domain.order import Order


class ActiveOrderMarkers:
    """Sets and clears markers on the first item of an order."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Use the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def set_write(self, event: Event) -> TransactWriteItemTypeDef:
        """Return the write that makes the order active as of this event, replacing any marker."""
        keys = active_marker(event)
        return {
            "Update": {
                "TableName": self._table,
                "Key": event_key(event.order_id, 1),
                "UpdateExpression": "SET open_shard = :shard, open_since = :since, open_version = :version",
                "ExpressionAttributeValues": values(shard=keys["open_shard"], since=keys["open_since"], version=event.order_version),
            }
        }

    def clear(self, order: Order, since: datetime | None = None) -> None:
        """Remove the marker of an order; a held order gets the marker `held`, with `since` (UTC) if given.

        Idempotent, also if late: the marker of an event after the last one of `order` remains.
        """
        waits = marker(order)
        update = "SET open_version = :version REMOVE open_shard, open_since"
        named: dict[str, Any] = {"version": order.version}
        if waits:
            update = "SET open_shard = :shard, open_version = :version" + (", open_since = :since" if since else "")
            named |= {"shard": active_shard(order.order_id, waits), **({"since": since} if since else {})}
        try:
            write_item(
                self._client,
                self._client.update_item,
                TableName=self._table,
                Key=event_key(order.order_id, 1),
                UpdateExpression=update,
                # The marker of a new order has no version.
                ConditionExpression="attribute_exists(open_shard) AND (attribute_not_exists(open_version) OR open_version < :version)",
                ExpressionAttributeValues=values(**named),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def try_clear(self, order: Order, since: datetime) -> None:
        """Clear the marker. A failure is only logged, because the recovery function clears the markers that remain."""
        try:
            self.clear(order, since)
        except Exception:  # noqa: BLE001 - the event is appended, so the caller succeeds
            logger.warning("marker_cleanup_failed", order_id=order.order_id, exc_info=True)
