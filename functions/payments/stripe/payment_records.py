"""The table of Stripe payments: the PaymentIntent of each payment, written once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import HTTPClientError
from msgspec import Struct

from orderflow.aws import dynamodb
from payments.provider import Declined, Payment, ProviderUnavailable, Voided

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class PaymentRecord(Struct, frozen=True):
    """The stored payment: its intent and a digest of the request, both empty for a payment voided before it began.

    `declined` is the decline code of an amount that Stripe does not accept.
    """

    intent: str = ""
    request: str = ""
    declined: str = ""

    @property
    def payment_without_intent(self) -> Payment:
        """The payment of a record without an intent."""
        return Declined(self.declined) if self.declined else Voided()


class PaymentRecords:
    """Reads and writes payment records by payment key. Both methods raise ProviderUnavailable if the table does not answer."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Use the table named `table`."""
        self._table = table
        self._client = client

    def read(self, key: str) -> PaymentRecord | None:
        """Return the record of a payment, or None."""
        try:
            item = dynamodb.read_item(self._client, self._table, dynamodb.key(key=key))
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost
        return _record(item) if item else None

    def put(self, key: str, record: PaymentRecord) -> PaymentRecord:
        """Store a record unless the payment has one, and return the stored record."""
        declined = {"declined": record.declined} if record.declined else {}
        try:
            self._client.put_item(
                TableName=self._table,
                Item=dynamodb.encode_item({"key": key, "intent": record.intent, "request": record.request, **declined}),
                ConditionExpression="attribute_not_exists(intent)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            return _record(dynamodb.stored_item(refused))
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost
        return record


def _record(item: Any) -> PaymentRecord:
    return PaymentRecord(item["intent"], item["request"], item.get("declined", ""))
