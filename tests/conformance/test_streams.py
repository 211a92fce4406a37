"""The stream of a table: one record for each change, with its images."""

from __future__ import annotations

from typing import Any

from tests.conformance.errors import code
from tests.conformance.tables import entry, stock
from tests.conformance.targets import Target


def kinds(records: list[dict[str, Any]]) -> list[str]:
    return [record["eventName"] for record in records]


def test_stream_has_inserts_updates_and_deletes_in_order(target: Target) -> None:
    target.seed("stock", stock("A", 1), stock("A", 2))
    target.dynamodb.delete_item(TableName="stock", Key={"sku": {"S": "A"}})
    records = target.changes("stock")
    assert kinds(records) == ["INSERT", "MODIFY", "REMOVE"]
    assert [record["dynamodb"]["Keys"] for record in records] == [{"sku": {"S": "A"}}] * 3


def test_stream_record_has_old_and_new_image(target: Target) -> None:
    target.seed("stock", stock("A", 1), stock("A", 2))
    inserted, modified = (record["dynamodb"] for record in target.changes("stock"))
    assert (inserted["NewImage"], "OldImage" in inserted) == (stock("A", 1), False)
    assert (modified["OldImage"], modified["NewImage"]) == (stock("A", 1), stock("A", 2))


def test_write_that_changes_nothing_has_no_record(target: Target) -> None:
    target.seed("stock", stock("A", 1), stock("A", 1))
    target.dynamodb.delete_item(TableName="stock", Key={"sku": {"S": "none"}})
    assert kinds(target.changes("stock")) == ["INSERT"]


def test_transaction_has_a_record_for_each_item(target: Target) -> None:
    writes = [{"Put": {"TableName": "log", "Item": entry("o", number)}} for number in (1, 2)]
    target.dynamodb.transact_write_items(TransactItems=writes)
    assert kinds(target.changes("log")) == ["INSERT", "INSERT"]


def test_refused_write_has_no_record(target: Target) -> None:
    target.seed("stock", stock("A", 1))
    request = {"TableName": "stock", "Item": stock("A", 2), "ConditionExpression": "attribute_not_exists(sku)"}
    assert code(target.dynamodb.put_item, **request) == "ConditionalCheckFailedException"
    assert kinds(target.changes("stock")) == ["INSERT"]
