"""Query, Scan and BatchGetItem: order, pages, filters, projections, key conditions, indexes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.errors import code
from tests.conformance.tables import entry, stock
from tests.conformance.targets import Target


def query(target: Target, **more: Any) -> Any:
    values = {":id": {"S": "o"}}
    return target.dynamodb.query(TableName="log", KeyConditionExpression="order_id = :id", ExpressionAttributeValues=values, **more)


def versions(answer: Any) -> list[int]:
    return [int(item["version"]["N"]) for item in answer["Items"]]


def history(*numbers: int) -> list[dict[str, Any]]:
    return [entry("o", number) for number in numbers]


@pytest.mark.parametrize(("forward", "expected"), [(True, [1, 9, 10]), (False, [10, 9, 1])], ids=["forward", "backward"])
def test_query_sorts_numbers_by_value(target: Target, forward: bool, expected: list[int]) -> None:
    target.seed("log", *history(10, 9, 1), entry("other", 2))
    assert versions(query(target, ScanIndexForward=forward)) == expected


def test_query_continues_after_a_deleted_start_key(target: Target) -> None:
    target.seed("log", *history(1, 2, 3, 4))
    first = query(target, Limit=2)
    assert first["LastEvaluatedKey"] == entry("o", 2)
    target.dynamodb.delete_item(TableName="log", Key=entry("o", 2))
    assert versions(query(target, Limit=2, ExclusiveStartKey=first["LastEvaluatedKey"])) == [3, 4]


def test_query_goes_backward_page_by_page(target: Target) -> None:
    target.seed("log", *history(1, 2, 3))
    first = query(target, Limit=2, ScanIndexForward=False)
    second = query(target, Limit=2, ScanIndexForward=False, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert (versions(first), versions(second)) == ([3, 2], [1])


def test_segments_of_a_scan_have_every_item_once(target: Target) -> None:
    target.seed("log", *(entry(f"o{number % 7}", number) for number in range(1, 30)))
    found = [versions(target.dynamodb.scan(TableName="log", Segment=segment, TotalSegments=3)) for segment in range(3)]
    assert sorted(version for some in found for version in some) == list(range(1, 30))


def test_page_that_ends_at_the_limit_names_its_last_key(target: Target) -> None:
    target.seed("log", *history(1, 2))
    last = query(target, Limit=2)
    assert last["LastEvaluatedKey"] == entry("o", 2)
    after = query(target, Limit=2, ExclusiveStartKey=last["LastEvaluatedKey"])
    assert (versions(after), "LastEvaluatedKey" in after) == ([], False)


def test_page_ends_after_a_megabyte(target: Target) -> None:
    target.seed("log", *(entry("o", version, body="x" * 390_000) for version in range(1, 5)))
    first = query(target)
    assert versions(first) == [1, 2]
    assert versions(query(target, ExclusiveStartKey=first["LastEvaluatedKey"])) == [3, 4]


def test_filter_applies_after_the_limit(target: Target) -> None:
    target.seed("log", entry("o", 1), entry("o", 2, label="yes"))
    answer = query(target, Limit=1, FilterExpression="attribute_exists(label)")
    assert (answer["Items"], answer["Count"], answer["ScannedCount"]) == ([], 0, 1)


def test_count_returns_no_items(target: Target) -> None:
    target.seed("log", *history(1, 2))
    answer = query(target, Select="COUNT")
    assert (answer["Count"], "Items" in answer) == (2, False)


KEY_CONDITIONS = {
    "order_id = :id AND version > :two": [3, 4],
    "order_id = :id AND version <= :two": [1, 2],
    "version BETWEEN :two AND :three AND order_id = :id": [2, 3],
    "order_id = :id AND version = :three": [3],
}


@pytest.mark.parametrize(("condition", "expected"), KEY_CONDITIONS.items(), ids=KEY_CONDITIONS)
def test_key_condition_selects_by_sort_key(target: Target, condition: str, expected: list[int]) -> None:
    target.seed("log", *history(1, 2, 3, 4))
    values = {":id": {"S": "o"}, ":two": {"N": "2"}, ":three": {"N": "3"}}
    used = {name: value for name, value in values.items() if name in condition}
    answer = target.dynamodb.query(TableName="log", KeyConditionExpression=condition, ExpressionAttributeValues=used)
    assert versions(answer) == expected


@pytest.mark.parametrize(
    "condition",
    [
        "version = :v",
        "order_id > :id",
        "order_id = :id OR version = :v",
        "order_id = :id AND label = :v",
        "order_id = :id AND version <> :v",
        "order_id = :id AND NOT version = :v",
    ],
)
def test_malformed_key_condition_is_refused(target: Target, condition: str) -> None:
    values = {":id": {"S": "o"}, ":v": {"N": "2"}}
    used = {name: value for name, value in values.items() if name in condition}
    request = {"TableName": "log", "KeyConditionExpression": condition, "ExpressionAttributeValues": used}
    assert code(target.dynamodb.query, **request) == "ValidationException"


def active(**more: Any) -> dict[str, Any]:
    """Return a query of the sparse index."""
    return {
        "TableName": "log",
        "IndexName": "active",
        "KeyConditionExpression": "#shard = :shard AND since < :limit",
        "ExpressionAttributeNames": {"#shard": "shard"},
        "ExpressionAttributeValues": {":shard": {"S": "0"}, ":limit": {"S": "2030"}},
        **more,
    }


def test_sparse_index_has_only_items_with_all_its_keys(target: Target) -> None:
    target.seed(
        "log",
        entry("late", 1, shard="0", since="2029", note="n"),
        entry("early", 1, shard="0", since="2028", note="n"),
        entry("future", 1, shard="0", since="2031"),
        entry("closed", 1),
        entry("half", 1, shard="0"),
        entry("elsewhere", 1, shard="1", since="2028"),
    )
    found = target.dynamodb.query(**active())["Items"]
    assert [item["order_id"]["S"] for item in found] == ["early", "late"]


def test_item_leaves_a_sparse_index_with_its_key(target: Target) -> None:
    target.seed("log", entry("o", 1, shard="0", since="2028"))
    target.dynamodb.update_item(TableName="log", Key=entry("o", 1), UpdateExpression="REMOVE since")
    assert target.dynamodb.query(**active())["Items"] == []


def test_index_of_keys_projects_only_keys(target: Target) -> None:
    target.seed("log", entry("o", 1, shard="0", since="2028", note="n"))
    assert target.dynamodb.query(**active())["Items"] == [entry("o", 1, shard="0", since="2028")]


def test_index_projects_its_included_attributes(target: Target) -> None:
    target.seed("log", entry("o", 2, label="x", note="n", body="b"), entry("o", 1))
    found = target.dynamodb.scan(TableName="log", IndexName="labelled")["Items"]
    assert found == [entry("o", 2, label="x", note="n")]


def test_equal_index_keys_are_paged_without_loss(target: Target) -> None:
    target.seed("log", *(entry(f"o{number}", 1, shard="0", since="2028") for number in range(5)))
    found: list[Any] = []
    start: dict[str, Any] = {}
    for _ in range(5):
        page = target.dynamodb.query(**active(Limit=2, **start))
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            break
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    assert sorted(item["order_id"]["S"] for item in found) == ["o0", "o1", "o2", "o3", "o4"]


def test_last_key_of_an_index_page_names_index_and_table_keys(target: Target) -> None:
    target.seed("log", entry("o", 1, shard="0", since="2028"), entry("p", 1, shard="0", since="2029"))
    assert target.dynamodb.query(**active(Limit=1))["LastEvaluatedKey"] == entry("o", 1, shard="0", since="2028")


def test_consistent_read_of_an_index_is_refused(target: Target) -> None:
    assert code(target.dynamodb.query, **active(ConsistentRead=True)) == "ValidationException"


def test_unknown_index_is_refused(target: Target) -> None:
    assert code(target.dynamodb.query, **active(IndexName="none")) == "ValidationException"


def test_scan_is_paged_without_loss(target: Target) -> None:
    target.seed("stock", *(stock(f"S{number}", number) for number in range(5)))
    first = target.dynamodb.scan(TableName="stock", Limit=3)
    rest = target.dynamodb.scan(TableName="stock", ExclusiveStartKey=first["LastEvaluatedKey"])
    assert sorted(item["sku"]["S"] for page in (first, rest) for item in page["Items"]) == [f"S{number}" for number in range(5)]


def test_scan_projects_attributes(target: Target) -> None:
    target.seed("log", entry("o", 2, label="x", note="n"))
    assert target.dynamodb.scan(TableName="log", ProjectionExpression="version, note")["Items"] == [
        {"version": {"N": "2"}, "note": {"S": "n"}}
    ]


def test_batch_get_returns_the_items_that_exist(target: Target) -> None:
    target.seed("log", entry("o", 2, note="n"))
    target.seed("stock", stock("A", 1))
    log = {"Keys": [entry("o", 2), entry("o", 7)], "ProjectionExpression": "note"}
    answer = target.dynamodb.batch_get_item(RequestItems={"log": log, "stock": {"Keys": [{"sku": {"S": "A"}}]}})
    assert answer["Responses"] == {"log": [{"note": {"S": "n"}}], "stock": [stock("A", 1)]}


def test_batch_get_of_a_duplicate_key_is_refused(target: Target) -> None:
    keys = [entry("o", 1), entry("o", 1)]
    assert code(target.dynamodb.batch_get_item, RequestItems={"log": {"Keys": keys}}) == "ValidationException"


def test_batch_get_of_more_than_100_keys_is_refused(target: Target) -> None:
    keys = [entry("o", number) for number in range(101)]
    assert code(target.dynamodb.batch_get_item, RequestItems={"log": {"Keys": keys}}) == "ValidationException"
