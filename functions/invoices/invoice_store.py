"""The table Invoices: one item per number; invoices and credit notes have a series each per year.

A number is taken by writing its item on condition that it does not exist, in one transaction with the order's event. Items are
never deleted, so no number is used twice and no number is missing.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orderflow.aws.dynamodb import decode_item, encode_item, stored_item, values, write_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from orderflow.domain.money import Money
    from orderflow.domain.order import Order


INVOICES = ""
CREDIT_NOTES = "CN-"


class DocumentNumber(Struct, frozen=True):
    """A document's number: a series (prefix and year) and a position from 1."""

    series: str
    position: int

    def __str__(self) -> str:
        """Return the number as printed on the document: 2026-000042, or CN-2026-000042."""
        return f"{self.series}-{self.position:06}"

    @classmethod
    def parse(cls, text: str) -> DocumentNumber:
        """Return the number that is printed as `text`."""
        series, _, position = text.rpartition("-")
        return cls(series, int(position))

    def following(self) -> DocumentNumber:
        """Return the number after this one."""
        return DocumentNumber(self.series, self.position + 1)


class NumberTaken(RuntimeError):
    """The number belongs to a document of another order."""


class InvoiceStore:
    """Reads and writes numbered documents."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def next_number(self, prefix: str, year: int) -> DocumentNumber:
        """Return the next free number of `INVOICES` or `CREDIT_NOTES` in a year; another function may take it first.

        Reads one item, the last of the series.
        """
        series = f"{prefix}{year}"
        answer: Any = self._client.query(
            TableName=self._table,
            # An older version stored a counter at position 0.
            KeyConditionExpression="series = :series AND #position >= :first",
            ExpressionAttributeNames={"#position": "position"},
            ExpressionAttributeValues=values(series=series, first=1),
            ProjectionExpression="#position",
            ScanIndexForward=False,
            Limit=1,
            ConsistentRead=True,
        )
        last = decode_item(answer["Items"][0])["position"] if answer["Items"] else 0
        return DocumentNumber(series, last + 1)

    def put_request(
        self, order: Order, number: DocumentNumber, document: str, amount: Money, issued_at: datetime
    ) -> TransactWriteItemTypeDef:
        """Return the write that takes a number for a document; its condition fails if the number is taken."""
        return {
            "Put": {
                "TableName": self._table,
                "Item": encode_item(
                    {
                        "series": number.series,
                        "position": number.position,
                        "number": str(number),
                        "order_id": order.order_id,
                        "document": document,
                        "amount": amount.amount,
                        "currency": amount.currency,
                        "issued_at": issued_at,
                    }
                ),
                "ConditionExpression": "attribute_not_exists(series)",
            }
        }

    def restore(self, order: Order, number: DocumentNumber, document: str, amount: Money, issued_at: datetime) -> None:
        """Write the row of an issued document, unless the table has it.

        Raises:
            NumberTaken: another order has the number.
        """
        put: Any = self.put_request(order, number, document, amount, issued_at)["Put"]  # pyright: ignore[reportTypedDictNotRequiredAccess]
        try:
            write_item(self._client, self._client.put_item, **put, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            if (owner := stored_item(refused)["order_id"]) != order.order_id:
                message = f"{number} belongs to {owner}, not to {order.order_id}"
                raise NumberTaken(message) from None
