"""When each customer placed orders: one row per order, kept until its `expires_at`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orderflow.aws.order_log import timestamp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.domain.order import Order

# How long a customer counts as known after an order.
HISTORY_WINDOW = timedelta(days=180)
# Rows outlive that by the time within which a saga may still be run again, so that a score stays what it was.
_MARGIN = timedelta(days=14)


class OrderHistory:
    """Remembers when a customer placed orders."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def remember(self, order: Order, placed_at: datetime) -> None:
        """Write the order's row; writing it again changes nothing, as all of it comes from the order."""
        self._client.put_item(
            TableName=self._table,
            Item={
                "customer_id": {"S": order.customer.id},
                "placed": {"S": _sort_key(order, placed_at)},
                "expires_at": {"N": str(int((placed_at + HISTORY_WINDOW + _MARGIN).timestamp()))},
            },
        )

    def preceding(self, order: Order, placed_at: datetime, limit: int) -> list[datetime]:
        """Return when the customer's last orders before this one were placed (UTC), latest first.

        At most `limit`, and none that is further back than a customer counts as known. Later orders are
        left out, so an order that is screened again gets the score that it got before.
        """
        page = self._client.query(
            TableName=self._table,
            KeyConditionExpression="customer_id = :customer AND placed < :this",
            ExpressionAttributeValues={
                ":customer": {"S": order.customer.id},
                ":this": {"S": _sort_key(order, placed_at)},
            },
            ProjectionExpression="placed",
            ScanIndexForward=False,
            Limit=limit,
            ConsistentRead=True,
        )
        moments = (_placed_at(item["placed"]["S"]) for item in page["Items"])  # pyright: ignore[reportTypedDictNotRequiredAccess]
        return [moment for moment in moments if moment >= placed_at - HISTORY_WINDOW]


def _sort_key(order: Order, placed_at: datetime) -> str:
    return f"{timestamp(placed_at)}#{order.order_id}"


def _placed_at(place: str) -> datetime:
    return datetime.fromisoformat(place.partition("#")[0]).astimezone(UTC)
