"""The table LoyaltyPoints: of each customer one row per order, and one with the sum of them.

A row changes only together with the balance, by the difference, so the balance is always the sum.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_ATTEMPTS = 5
_BALANCE = "balance"


class Contention(RuntimeError):
    """Other orders of the same customer kept getting in the way; trying later helps."""


class Award(Struct, frozen=True):
    """The points that an order had earned as of its event `version`."""

    points: int
    version: int


class Points:
    """Reads and writes the rows."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def balance(self, customer_id: str) -> int:
        """Return how many points a customer has."""
        answer = self._client.get_item(TableName=self._table, Key=_key(customer_id, _BALANCE), ConsistentRead=True)
        return int(answer["Item"]["points"]["N"]) if "Item" in answer else 0  # pyright: ignore[reportTypedDictNotRequiredAccess]

    def award(self, customer_id: str, order_id: str, earned: Award) -> int:
        """Let an order's points be those it has earned, and return by how many the balance changed.

        What was found out about an earlier version of the order changes nothing any more; that no points are
        due is therefore written too.

        Raises:
            Contention: other orders of the customer kept getting in the way.
        """
        for attempt in range(_ATTEMPTS):
            before = self._of(customer_id, order_id)
            if before and before.version >= earned.version:
                return 0
            change = earned.points - (before.points if before else 0)
            if self._written(customer_id, order_id, before, earned, change):
                return change
            time.sleep(random.uniform(0.01, 0.05) * (attempt + 1))  # noqa: S311 - jitter, not a secret
        raise Contention(order_id)

    def _of(self, customer_id: str, order_id: str) -> Award | None:
        answer: Any = self._client.get_item(TableName=self._table, Key=_key(customer_id, order_id), ConsistentRead=True)
        item = answer.get("Item")
        return Award(int(item["points"]["N"]), int(item["version"]["N"])) if item else None

    def _written(self, customer_id: str, order_id: str, before: Award | None, earned: Award, change: int) -> bool:
        try:
            self._client.transact_write_items(
                TransactItems=[
                    {"Put": self._row(customer_id, order_id, before, earned)},
                    {
                        "Update": {
                            "TableName": self._table,
                            "Key": _key(customer_id, _BALANCE),
                            "UpdateExpression": "ADD points :change",
                            "ExpressionAttributeValues": {":change": {"N": str(change)}},
                        }
                    },
                ]
            )
        except self._client.exceptions.TransactionCanceledException as cancelled:
            reasons: Any = cancelled.response.get("CancellationReasons", [])
            if {reason.get("Code") for reason in reasons} & {"ConditionalCheckFailed", "TransactionConflict"}:
                return False
            raise
        return True

    def _row(self, customer_id: str, order_id: str, before: Award | None, earned: Award) -> Any:
        """Return the put of an order's row, on condition that it is still as it was read."""
        values = {"points": {"N": str(earned.points)}, "version": {"N": str(earned.version)}}
        put: Any = {"TableName": self._table, "Item": {**_key(customer_id, order_id), **values}}
        if before is None:
            return put | {"ConditionExpression": "attribute_not_exists(customer_id)"}
        return put | {
            "ConditionExpression": "#version = :read",
            "ExpressionAttributeNames": {"#version": "version"},
            "ExpressionAttributeValues": {":read": {"N": str(before.version)}},
        }


def _key(customer_id: str, entry: str) -> dict[str, Any]:
    return {"customer_id": {"S": customer_id}, "entry": {"S": entry}}
