"""The table Invoices: by year, the invoices under their numbers, and under number 0 the last one that was given.

Number, invoice and the order's event are written in one transaction, on condition that the last number
is still the one that was read. So no number is given twice, and none without an invoice.
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

_COUNTER = 0


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
        answer: Any = self._client.get_item(TableName=self._table, Key=_key(Number(year, _COUNTER)), ConsistentRead=True)
        last = int(answer["Item"]["last"]["N"]) if "Item" in answer else 0
        return Number(year, last + 1)

    def numbering(self, order: Order, number: Number, document: str, issued_at: datetime) -> list[TransactWriteItemTypeDef]:
        """Return the writes that give an order this number; they fail when another order has it."""
        return [
            {
                "Update": {
                    "TableName": self._table,
                    "Key": _key(Number(number.year, _COUNTER)),
                    "UpdateExpression": "SET #last = :this",
                    "ConditionExpression": "#last = :before" if number.position > 1 else "attribute_not_exists(#last)",
                    "ExpressionAttributeNames": {"#last": "last"},
                    "ExpressionAttributeValues": _counted(number),
                }
            },
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
            },
        ]


def _counted(number: Number) -> dict[str, Any]:
    this = {":this": {"N": str(number.position)}}
    return this | {":before": {"N": str(number.position - 1)}} if number.position > 1 else this


def _key(number: Number) -> dict[str, Any]:
    return {"series": {"S": str(number.year)}, "position": {"N": str(number.position)}}
