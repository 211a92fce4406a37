"""A rebuild restores lost rows while the stack processes orders, and a restored table is copied into an empty one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from devtools.ops.rebuild import Rebuild
from devtools.ops.restore import Restore, logged
from devtools.target import Target
from tests.integration.deployed_stack import DeployedStack, eventually

# By table: the attribute by which a row belongs to an order, and the attributes that follow from the time of the write.
ROWS = {
    "Reservations": ("order_id", ()),
    "LedgerEntries": ("order_id", ("posted_at", "sheet")),
    "Invoices": ("order_id", ()),
    "OrderView": ("order_id", ()),
    "LoyaltyPoints": ("entry", ()),
}
KEYS = {
    "Reservations": ("order_id",),
    "LedgerEntries": ("order_id", "event_id"),
    "Invoices": ("series", "position"),
    "OrderView": ("customer_id", "place"),
    "LoyaltyPoints": ("customer_id", "entry"),
}


def rows(stack: DeployedStack, order_id: str) -> dict[str, list[dict[str, Any]]]:
    return {table: [row for row in stack.scan(table) if row.get(by, {}).get("S") == order_id] for table, (by, _) in ROWS.items()}


def compared(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    ignored = {table: {*names, "reserved_at"} for table, (_, names) in ROWS.items()}
    return {
        table: [{name: value for name, value in row.items() if name not in ignored[table]} for row in some] for table, some in found.items()
    }


def test_rebuild_writes_lost_rows_again(stack: DeployedStack, tmp_path: Path) -> None:
    customer, sku = stack.customer(), stack.product()
    order_id = stack.buy(customer, sku, 3)
    assert stack.outcome(customer, order_id) == "confirmed"
    before = eventually(lambda: rows(stack, order_id), lambda found: all(found.values()), within=stack.patience, what="a row in each table")
    for table, some in before.items():
        for row in some:
            stack.dynamodb.delete_item(TableName=stack.table(table), Key={name: row[name] for name in KEYS[table]})
    stock = {"sku": {"S": sku}, "available": {"N": "100"}, "reserved": {"N": "0"}, "shipped": {"N": "0"}}
    stack.dynamodb.put_item(TableName=stack.table("Stock"), Item=stock)
    sent = len(stack.sent(order_id))

    result = Rebuild(stack.target, tmp_path / "rebuild.json", 1).run()

    assert result.orders >= 1
    assert compared(rows(stack, order_id)) == compared(before)
    [after] = [row for row in stack.scan("Stock") if row["sku"]["S"] == sku]
    assert after == stock | {"available": {"N": "97"}, "reserved": {"N": "3"}}
    assert len(stack.sent(order_id)) == sent


@pytest.fixture
def scratch(stack: DeployedStack) -> Iterator[tuple[str, str]]:
    """Two empty tables with the keys of the order log."""
    names = tuple(f"restore-{uuid4().hex[:12]}" for _ in range(2))
    for name in names:
        stack.dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "order_id", "KeyType": "HASH"}, {"AttributeName": "version", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": "order_id", "AttributeType": "S"}, {"AttributeName": "version", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )
    yield names[0], names[1]
    for name in names:
        stack.dynamodb.delete_table(TableName=name)


def test_restored_log_is_copied_as_published_and_activated_last(stack: DeployedStack, scratch: tuple[str, str], tmp_path: Path) -> None:
    source, into = scratch
    items = [
        {
            "order_id": {"S": f"ord_{order}"},
            "version": {"N": str(version)},
            "event": {"S": "{}"},
            **({"open_shard": {"S": "1"}, "open_since": {"S": "x"}} if version == 1 else {}),
        }
        for order in range(40)
        for version in range(1, 4)
    ]
    for item in items:
        stack.dynamodb.put_item(TableName=source, Item=item)
    target = cast("Target", SimpleNamespace(client=stack.target.client, resources={"OrderLog": into}))

    def copied() -> list[dict[str, Any]]:
        found = stack.dynamodb.scan(TableName=into)["Items"]
        return sorted(found, key=lambda item: (item["order_id"]["S"], item["version"]["N"]))

    def expected() -> list[dict[str, Any]]:
        return sorted(map(logged, items), key=lambda item: (item["order_id"]["S"], item["version"]["N"]))

    assert Restore(target, "OrderLog", source, tmp_path / "copy.json", 3).copy() == len(items)
    assert copied() == expected()
    assert Restore(target, "OrderLog", source, tmp_path / "active.json", 3).activate() == 40
    assert sum("open_shard" in item for item in copied()) == 40
