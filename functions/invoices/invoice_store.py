"""The table Invoices: by year, the invoices under their numbers, and in a series of their own the credit notes.

The numbers after the last one are taken by writing the documents' rows under them, in one transaction with the orders' events, on
condition that nothing is there. Nobody deletes a row, so no number is given twice, and none without a document.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orderflow.aws.dynamodb import timestamp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from orderflow.domain.money import Money
    from orderflow.domain.order import Order


INVOICES = ""
CREDIT_NOTES = "CN-"


class DocumentNumber(Struct, frozen=True):
    """A document's number: of a series, which is a prefix and a year, and its position there, from 1."""

    series: str
    position: int

    def __str__(self) -> str:
        """Return the number as it stands on the document: 2026-000042, or CN-2026-000042."""
        return f"{self.series}-{self.position:06}"

    def following(self) -> DocumentNumber:
        """Return the number after this one."""
        return DocumentNumber(self.series, self.position + 1)


class InvoiceStore:
    """Reads and writes the table."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def next_number(self, prefix: str, year: int) -> DocumentNumber:
        """Return the number that comes next of `INVOICES` or `CREDIT_NOTES` in a year; somebody else may take it first.

        One item is read, the last of the year, by its place in the order of the keys.
        """
        series = f"{prefix}{year}"
        answer: Any = self._client.query(
            TableName=self._table,
            # What an older version counted by is at position 0.
            KeyConditionExpression="series = :series AND #position >= :first",
            ExpressionAttributeNames={"#position": "position"},
            ExpressionAttributeValues={":series": {"S": series}, ":first": {"N": "1"}},
            ProjectionExpression="#position",
            ScanIndexForward=False,
            Limit=1,
            ConsistentRead=True,
        )
        last = int(answer["Items"][0]["position"]["N"]) if answer["Items"] else 0
        return DocumentNumber(series, last + 1)

    def put_request(
        self, order: Order, number: DocumentNumber, document: str, amount: Money, issued_at: datetime
    ) -> TransactWriteItemTypeDef:
        """Return the write that gives a document of an order this number; it fails when another one has it."""
        return {
            "Put": {
                "TableName": self._table,
                "Item": {
                    **_key(number),
                    "number": {"S": str(number)},
                    "order_id": {"S": order.order_id},
                    "document": {"S": document},
                    "amount": {"N": str(amount.amount)},
                    "currency": {"S": amount.currency},
                    "issued_at": {"S": timestamp(issued_at)},
                },
                "ConditionExpression": "attribute_not_exists(series)",
            }
        }


def _key(number: DocumentNumber) -> dict[str, Any]:
    return {"series": {"S": number.series}, "position": {"N": str(number.position)}}
