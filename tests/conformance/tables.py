"""The tables of the conformance tests and their items."""

from __future__ import annotations

from typing import Any

from tests.fakes.aws.dynamodb import Index, Table

TABLES = {
    table.name: table
    for table in (
        Table("stock", {"sku": "S"}),
        Table(
            "log",
            {"order_id": "S", "version": "N"},
            {"active": Index({"shard": "S", "since": "S"}, "KEYS_ONLY"), "labelled": Index({"label": "S"}, ("note",))},
        ),
    )
}


def stock(sku: str, available: int, **more: Any) -> dict[str, Any]:
    """Return an item of the table `stock`."""
    return {"sku": {"S": sku}, "available": {"N": str(available)}, **more}


def entry(order_id: str, version: int, **more: str) -> dict[str, Any]:
    """Return an item of the table `log`, or its key."""
    return {"order_id": {"S": order_id}, "version": {"N": str(version)}, **{name: {"S": text} for name, text in more.items()}}


def reservation(sku: str, quantity: int, **more: Any) -> dict[str, Any]:
    """Return an update that reserves a quantity of the available units."""
    return {
        "TableName": "stock",
        "Key": {"sku": {"S": sku}},
        "UpdateExpression": "SET available = available - :q, taken = if_not_exists(taken, :none) + :q",
        "ConditionExpression": "available >= :q",
        "ExpressionAttributeValues": {":q": {"N": str(quantity)}, ":none": {"N": "0"}},
        **more,
    }
