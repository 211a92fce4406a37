"""The table Allowances: one row per customer with the ids of counted orders and the unpaid units of each product.

Placing an order adds to the row in the same transaction, without a read. Nothing is subtracted when an order is paid or ends, so the
row can only be too high. If it reaches a limit, its orders are read from the log, and the row is replaced by the orders that still
count: unpaid ones, and those declined within a day, without their units.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from orderflow.aws import dynamodb
from orders.domain.unpaid_limits import MAX_ORDERS, MAX_UNITS, units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, TransactWriteItemTypeDef, UpdateItemInputTypeDef

    from orderflow.domain.events import StockLine
    from orderflow.domain.order import Order
    from orders.domain.unpaid_limits import Counted

_UNITS = "units:"


class Row(NamedTuple):
    """A customer's row: the ids of its orders and its revision; empty with revision 0 if the customer has no row."""

    orders: tuple[str, ...]
    revision: int

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Row:
        """Return the row of an item, which may be empty."""
        return cls(tuple(sorted(item.get("orders", ()))), item.get("revision", 0))


class Allowances:
    """Builds the writes of the table. If a write's condition fails, the error contains the stored item."""

    def __init__(self, table: str) -> None:
        """Write to the DynamoDB table named `table`."""
        self._table = table

    def add_request(self, customer_id: str, order_id: str, lines: Sequence[StockLine], expires_at: datetime) -> TransactWriteItemTypeDef:
        """Return the write that adds an order; its condition fails if the row would exceed a limit.

        `lines` has one line per product, of `MAX_UNITS` at most. DynamoDB may delete the row after `expires_at` (UTC).
        """
        numbers = range(len(lines))
        most = [f"(attribute_not_exists(#units{n}) OR #units{n} <= :most{n})" for n in numbers]
        return {
            "Update": {
                "TableName": self._table,
                "Key": dynamodb.key(customer_id=customer_id),
                "UpdateExpression": "SET expires_at = :expires_at ADD orders :order, revision :one, "
                + ", ".join(f"#units{n} :units{n}" for n in numbers),
                "ConditionExpression": " AND ".join(["(attribute_not_exists(orders) OR size(orders) < :most_orders)", *most]),
                "ExpressionAttributeNames": {f"#units{n}": _UNITS + line.sku for n, line in enumerate(lines)},
                "ExpressionAttributeValues": dynamodb.values(
                    expires_at=int(expires_at.timestamp()),
                    order={order_id},
                    one=1,
                    most_orders=MAX_ORDERS,
                    **{f"units{n}": line.quantity for n, line in enumerate(lines)},
                    **{f"most{n}": MAX_UNITS - line.quantity for n, line in enumerate(lines)},
                ),
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def restore(self, client: DynamoDBClient, order: Order, expires_at: datetime) -> None:
        """Count an unpaid order of the log in its customer's row, unless the row has it."""
        with suppress(client.exceptions.ConditionalCheckFailedException):
            dynamodb.write_item(client, client.update_item, **self._restore_request(order, expires_at))

    def _restore_request(self, order: Order, expires_at: datetime) -> UpdateItemInputTypeDef:
        counted = units([order])
        names = {f"#units{number}": _UNITS + sku for number, sku in enumerate(counted)}
        return {
            "TableName": self._table,
            "Key": dynamodb.key(customer_id=order.customer.id),
            "UpdateExpression": "SET expires_at = :expires_at ADD orders :order, revision :one, "
            + ", ".join(f"{name} :units{number}" for number, name in enumerate(names)),
            "ConditionExpression": "attribute_not_exists(orders) OR NOT contains(orders, :id)",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": dynamodb.values(
                expires_at=int(expires_at.timestamp()),
                order={order.order_id},
                id=order.order_id,
                one=1,
                **{f"units{number}": quantity for number, quantity in enumerate(counted.values())},
            ),
        }

    def replace_request(
        self, customer_id: str, row: Row, counted: Counted, *, order_id: str, lines: Sequence[StockLine], expires_at: datetime
    ) -> TransactWriteItemTypeDef:
        """Return the write that replaces `row` by the counted orders and a new one; its condition fails if the row has changed."""
        unpaid_units = units(counted.unpaid)
        for line in lines:
            unpaid_units[line.sku] = unpaid_units.get(line.sku, 0) + line.quantity
        item: dict[str, Any] = {
            "customer_id": customer_id,
            "orders": {*(order.order_id for orders in counted for order in orders), order_id},
            "revision": row.revision + 1,
            "expires_at": int(expires_at.timestamp()),
            **{_UNITS + sku: quantity for sku, quantity in unpaid_units.items()},
        }
        put: PutTypeDef = {
            "TableName": self._table,
            "Item": dynamodb.encode_item(item),
            "ConditionExpression": "revision = :revision" if row.revision else "attribute_not_exists(revision)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if row.revision:
            put["ExpressionAttributeValues"] = dynamodb.values(revision=row.revision)
        return {"Put": put}
