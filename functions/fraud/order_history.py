"""The table of order history: when each customer placed orders, one item per order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orderflow.aws import dynamodb
from orderflow.aws.dynamodb import timestamp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.domain.order import Order

# How long a customer counts as known after an order.
HISTORY_WINDOW = timedelta(days=180)
# Items outlive the window by the time in which a saga may still be re-run, so that its score does not change.
_MARGIN = timedelta(days=14)


class OrderHistory:
    """Stores when customers placed orders in a DynamoDB table."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Use the table named `table`."""
        self._table = table
        self._client = client

    def add(self, order: Order, placed_at: datetime) -> None:
        """Store the order's item. Idempotent: the order alone determines the item."""
        self._client.put_item(
            TableName=self._table,
            Item=dynamodb.encode_item(
                {
                    "customer_id": order.customer.id,
                    "placed": _sort_key(order, placed_at),
                    "expires_at": int((placed_at + HISTORY_WINDOW + _MARGIN).timestamp()),
                }
            ),
        )

    def restore(self, order: Order, now: datetime) -> bool:
        """Store the item of an order that was screened, unless it expired before `now` (UTC); return whether it has one."""
        if not order.screening or order.placed_at is None or order.placed_at + HISTORY_WINDOW + _MARGIN <= now:
            return False
        self.add(order, order.placed_at)
        return True

    def preceding(self, order: Order, placed_at: datetime, limit: int) -> list[datetime]:
        """Return when the customer placed at most `limit` orders before this one (UTC), latest first.

        Orders before the history window and orders after this one do not count, so a re-run computes the same score.
        """
        page = self._client.query(
            TableName=self._table,
            KeyConditionExpression="customer_id = :customer AND placed < :this",
            ExpressionAttributeValues=dynamodb.values(customer=order.customer.id, this=_sort_key(order, placed_at)),
            ProjectionExpression="placed",
            ScanIndexForward=False,
            Limit=limit,
            ConsistentRead=True,
        )
        times = (_placed_at(item["placed"]) for item in map(dynamodb.decode_item, page["Items"]))
        return [time for time in times if time >= placed_at - HISTORY_WINDOW]


def _sort_key(order: Order, placed_at: datetime) -> str:
    return f"{timestamp(placed_at)}#{order.order_id}"


def _placed_at(sort_key: str) -> datetime:
    return datetime.fromisoformat(sort_key.partition("#")[0]).astimezone(UTC)
