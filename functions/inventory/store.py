"""The tables Stock and Reservations, as writes that go into one transaction with an order's event.

Stock changes only together with the reservation row of the order it is for, so the reserved amount
of a product is always the sum of the reservations that are held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from inventory import rules
from orderflow.log import timestamp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from orderflow.events import Shortage, StockLine


class Inventory:
    """Knows the tables' names and how their items look."""

    def __init__(self, stock: str, reservations: str) -> None:
        """Work on the DynamoDB tables `stock` and `reservations`."""
        self._stock = stock
        self._reservations = reservations

    def reserving(self, order_id: str, lines: Sequence[StockLine]) -> list[TransactWriteItemTypeDef]:
        """Return the writes that set every line aside for an order which has no reservation yet.

        One for each line and one more: with the order's event they fit into a transaction of 100
        for up to 98 lines.
        """
        return [*(self._taking(line) for line in lines), self._hold(order_id, lines)]

    def releasing(self, order_id: str, lines: Sequence[StockLine]) -> list[TransactWriteItemTypeDef]:
        """Return the writes that give back every line of an order's reservation that is held."""
        return [*(self._giving_back(line) for line in lines), self._let_go(order_id)]

    def shortages(self, lines: Sequence[StockLine], reasons: Sequence[Mapping[str, Any]]) -> tuple[Shortage, ...]:
        """Return which lines were short, from the reasons why the writes of `reserving` were cancelled.

        Empty where stock was not the reason.
        """
        refused = {line.sku: reason for line, reason in zip(lines, reasons, strict=False) if _is_refused(reason)}
        available = {sku: _available(reason.get("Item", {})) for sku, reason in refused.items()}
        return rules.shortages([line for line in lines if line.sku in refused], available)

    def _taking(self, line: StockLine) -> TransactWriteItemTypeDef:
        return {
            "Update": {
                "TableName": self._stock,
                "Key": {"sku": {"S": line.sku}},
                "UpdateExpression": "SET available = available - :quantity, reserved = reserved + :quantity",
                "ConditionExpression": "available >= :quantity",
                "ExpressionAttributeValues": {":quantity": {"N": str(line.quantity)}},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _giving_back(self, line: StockLine) -> TransactWriteItemTypeDef:
        return {
            "Update": {
                "TableName": self._stock,
                "Key": {"sku": {"S": line.sku}},
                "UpdateExpression": "SET available = available + :quantity, reserved = reserved - :quantity",
                "ConditionExpression": "reserved >= :quantity",
                "ExpressionAttributeValues": {":quantity": {"N": str(line.quantity)}},
            }
        }

    def _hold(self, order_id: str, lines: Sequence[StockLine]) -> TransactWriteItemTypeDef:
        return {
            "Put": {
                "TableName": self._reservations,
                "Item": {
                    "order_id": {"S": order_id},
                    "state": {"S": "held"},
                    "lines": {"L": [_line(line) for line in lines]},
                    "reserved_at": {"S": timestamp(datetime.now(UTC))},
                },
                "ConditionExpression": "attribute_not_exists(order_id)",
            }
        }

    def _let_go(self, order_id: str) -> TransactWriteItemTypeDef:
        return {
            "Update": {
                "TableName": self._reservations,
                "Key": {"order_id": {"S": order_id}},
                "UpdateExpression": "SET #state = :released",
                "ConditionExpression": "#state = :held",
                "ExpressionAttributeNames": {"#state": "state"},
                "ExpressionAttributeValues": {":released": {"S": "released"}, ":held": {"S": "held"}},
            }
        }


def _line(line: StockLine) -> dict[str, Any]:
    return {"M": {"sku": {"S": line.sku}, "quantity": {"N": str(line.quantity)}}}


def _is_refused(reason: Mapping[str, Any]) -> bool:
    return reason.get("Code") == "ConditionalCheckFailed"


def _available(item: Mapping[str, Any]) -> int:
    return int(item.get("available", {}).get("N", 0))
