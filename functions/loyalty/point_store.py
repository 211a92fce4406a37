"""The table LoyaltyPoints: of each customer one row per order, and what they come to is the customer's points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# A row of the sum that was kept beside the orders once.
_BALANCE = "balance"


class Award(Struct, frozen=True):
    """The points that an order had earned as of its event `version`, the last that changed them."""

    points: int
    version: int


class PointStore:
    """Reads and writes the rows."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def balance(self, customer_id: str) -> int:
        """Return how many points a customer has; the last moment may not be counted."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "customer_id = :customer",
            "ExpressionAttributeValues": {":customer": {"S": customer_id}},
        }
        points = 0
        while True:
            page: Any = self._client.query(**request)
            points += sum(int(item["points"]["N"]) for item in page["Items"] if item["entry"]["S"] != _BALANCE)
            if "LastEvaluatedKey" not in page:
                return points
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def award(self, customer_id: str, order_id: str, earned: Award) -> bool:
        """Let an order's points be those it has earned, and say whether this was news.

        What was found out about an earlier version of the order changes nothing any more; that no points are
        due is therefore written too.
        """
        try:
            self._client.put_item(
                TableName=self._table,
                Item={
                    "customer_id": {"S": customer_id},
                    "entry": {"S": order_id},
                    "points": {"N": str(earned.points)},
                    "version": {"N": str(earned.version)},
                },
                ConditionExpression="attribute_not_exists(customer_id) OR #version < :version",
                ExpressionAttributeNames={"#version": "version"},
                ExpressionAttributeValues={":version": {"N": str(earned.version)}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True
