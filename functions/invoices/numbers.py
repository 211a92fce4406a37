"""The table Invoices: by year, the invoices under their numbers.

The number after the last one is taken by writing the invoice under it, in one transaction with the order's event, on condition
that nothing is there. Nobody deletes a row, so no number is given twice, and none without an invoice.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orderflow.log import timestamp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from orderflow.order import Order


class Number(Struct, frozen=True):
    """An invoice's number in the series of its year, from 1."""

    year: int
    position: int

    def __str__(self) -> str:
        """Return the number as it stands on the invoice: 2026-000042."""
        return f"{self.year}-{self.position:06}"


class Invoices:
    """Reads and writes the table."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def next(self, year: int) -> Number:
        """Return the number that comes next in a year; somebody else may take it first."""
        answer: Any = self._client.query(
            TableName=self._table,
            # What an older version counted by is at position 0.
            KeyConditionExpression="series = :series AND #position >= :first",
            ExpressionAttributeNames={"#position": "position"},
            ExpressionAttributeValues={":series": {"S": str(year)}, ":first": {"N": "1"}},
            ProjectionExpression="#position",
            ScanIndexForward=False,
            Limit=1,
            ConsistentRead=True,
        )
        last = int(answer["Items"][0]["position"]["N"]) if answer["Items"] else 0
        return Number(year, last + 1)

    def numbering(self, order: Order, number: Number, document: str, issued_at: datetime) -> list[TransactWriteItemTypeDef]:
        """Return the writes that give an order this number; they fail when another order has it."""
        return [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": {
                        **_key(number),
                        "number": {"S": str(number)},
                        "order_id": {"S": order.order_id},
                        "document": {"S": document},
                        "amount": {"N": str(order.total.amount)},
                        "currency": {"S": order.total.currency},
                        "issued_at": {"S": timestamp(issued_at)},
                    },
                    "ConditionExpression": "attribute_not_exists(series)",
                }
            }
        ]


def _key(number: Number) -> dict[str, Any]:
    return {"series": {"S": str(number.year)}, "position": {"N": str(number.position)}}
