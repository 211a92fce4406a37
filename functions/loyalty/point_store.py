"""The table LoyaltyPoints: one item per customer and order; a customer's balance is the sum of their items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orderflow.aws.dynamodb import encode_item, read_items, values

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Older versions stored the balance in an item of its own.
_BALANCE = "balance"


class Award(Struct, frozen=True):
    """The points of an order as of its event `version`, the last that changed them."""

    points: int
    version: int


class PointStore:
    """Reads and writes the points of orders."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def balance(self, customer_id: str) -> int:
        """Return a customer's points by an eventually consistent read."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "customer_id = :customer",
            "ExpressionAttributeValues": values(customer=customer_id),
        }
        return sum(item["points"] for item in read_items(self._client.query, **request) if item["entry"] != _BALANCE)

    def award(self, customer_id: str, order_id: str, earned: Award) -> bool:
        """Set the points of an order; return False if the stored points are of this version or a later one.

        Zero points are written as well, so that a slower worker cannot write an older award afterwards.
        """
        try:
            self._client.put_item(
                TableName=self._table,
                Item=encode_item({"customer_id": customer_id, "entry": order_id, "points": earned.points, "version": earned.version}),
                ConditionExpression="attribute_not_exists(customer_id) OR #version < :version",
                ExpressionAttributeNames={"#version": "version"},
                ExpressionAttributeValues=values(version=earned.version),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True
