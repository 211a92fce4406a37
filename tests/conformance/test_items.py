"""GetItem, PutItem, DeleteItem: stored values and refused items."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ParamValidationError

from tests.conformance.errors import ACCEPTED, code
from tests.conformance.tables import entry, stock
from tests.conformance.targets import Target


def test_batch_of_writes_puts_every_item_and_replaces_existing_ones(target: Target) -> None:
    target.seed("stock", stock("a", available=1))
    requests = [{"PutRequest": {"Item": stock(sku, available=number)}} for number, sku in enumerate("abc", 5)]
    assert not target.dynamodb.batch_write_item(RequestItems={"stock": requests}).get("UnprocessedItems")
    assert target.items("stock") == [request["PutRequest"]["Item"] for request in requests]


def test_batch_of_writes_takes_no_key_twice(target: Target) -> None:
    requests = [{"PutRequest": {"Item": stock("a", available=number)}} for number in range(2)]
    assert code(target.dynamodb.batch_write_item, RequestItems={"stock": requests}) == "ValidationException"


def test_get_returns_numbers_in_normal_form(target: Target) -> None:
    numbers = {"L": [{"N": "1e2"}, {"N": "007.50"}, {"M": {"x": {"N": "-0.0"}}}]}
    target.seed("stock", {"sku": {"S": "A"}, "numbers": numbers})
    found = target.dynamodb.get_item(TableName="stock", Key={"sku": {"S": "A"}})
    assert found["Item"]["numbers"] == {"L": [{"N": "100"}, {"N": "7.5"}, {"M": {"x": {"N": "0"}}}]}


def test_get_returns_every_type_as_it_was_put(target: Target) -> None:
    item = stock("A", 1, yes={"BOOL": True}, nothing={"NULL": True}, raw={"B": b"\x00\xff"}, tags={"SS": ["a", "b"]}, empty={"S": ""})
    target.seed("stock", item)
    assert target.dynamodb.get_item(TableName="stock", Key={"sku": {"S": "A"}})["Item"] == item


def test_get_of_an_unknown_key_has_no_item(target: Target) -> None:
    assert "Item" not in target.dynamodb.get_item(TableName="stock", Key={"sku": {"S": "none"}})


def test_get_projects_attributes(target: Target) -> None:
    target.seed("stock", stock("A", 5, note={"S": "x"}))
    found = target.dynamodb.get_item(TableName="stock", Key={"sku": {"S": "A"}}, ProjectionExpression="note, absent")
    assert found["Item"] == {"note": {"S": "x"}}


def test_unknown_table_is_refused(target: Target) -> None:
    assert code(target.dynamodb.get_item, TableName="none", Key={"sku": {"S": "A"}}) == "ResourceNotFoundException"


@pytest.mark.parametrize(
    "key",
    [
        pytest.param({"order_id": {"S": "o"}}, id="without sort key"),
        pytest.param(entry("o", 1, more="x"), id="other attribute"),
        pytest.param({"order_id": {"S": "o"}, "version": {"S": "1"}}, id="wrong type"),
    ],
)
def test_key_that_does_not_match_the_schema_is_refused(target: Target, key: dict[str, Any]) -> None:
    assert code(target.dynamodb.get_item, TableName="log", Key=key) == "ValidationException"


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"TableName": "stock"}, id="no item"),
        pytest.param({"TableName": "stock", "Item": {"sku": {"S": 1}}}, id="wrong Python type"),
        pytest.param({"TableName": "stock", "Item": stock("A", 1), "ConditionExpresion": "attribute_not_exists(sku)"}, id="misspelt"),
    ],
)
def test_parameters_outside_the_service_model_are_refused(target: Target, parameters: dict[str, Any]) -> None:
    with pytest.raises(ParamValidationError):
        target.dynamodb.put_item(**parameters)


@pytest.mark.parametrize(
    "item",
    [
        pytest.param({"available": {"N": "1"}}, id="no key"),
        pytest.param({"sku": {"N": "1"}}, id="key of another type"),
        pytest.param({"sku": {"S": ""}}, id="empty key"),
        pytest.param({"sku": {"S": "A"}, "n": {"N": "one"}}, id="invalid number"),
        pytest.param({"sku": {"S": "A"}, "n": {"N": "1" * 39}}, id="39 digits"),
        pytest.param({"sku": {"S": "A"}, "n": {"N": "NaN"}}, id="NaN"),
        pytest.param({"sku": {"S": "A"}, "set": {"SS": []}}, id="empty set"),
        pytest.param({"sku": {"S": "A"}, "set": {"SS": ["a", "a"]}}, id="set with a duplicate"),
        pytest.param({"sku": {"S": "A"}, "both": {"S": "1", "N": "1"}}, id="two types"),
        pytest.param({"sku": {"S": "A"}, "big": {"S": "x" * 410_000}}, id="over 400 KB"),
    ],
)
def test_malformed_item_is_refused(target: Target, item: dict[str, Any]) -> None:
    assert code(target.dynamodb.put_item, TableName="stock", Item=item) == "ValidationException"
    assert target.items("stock") == []


def test_index_key_of_another_type_is_refused(target: Target) -> None:
    item = {**entry("o", 1), "shard": {"N": "1"}}
    assert code(target.dynamodb.put_item, TableName="log", Item=item) == "ValidationException"


def test_index_key_that_is_empty_is_refused(target: Target) -> None:
    assert code(target.dynamodb.put_item, TableName="log", Item=entry("o", 1, label="")) == "ValidationException"


@pytest.mark.parametrize(
    ("wanted", "expected"), [("NONE", None), ("ALL_OLD", stock("A", 1)), ("ALL_NEW", "ValidationException")], ids=["none", "old", "new"]
)
def test_put_returns_the_old_item_only_on_request(target: Target, wanted: str, expected: Any) -> None:
    target.seed("stock", stock("A", 1))
    request = {"TableName": "stock", "Item": stock("A", 2), "ReturnValues": wanted}
    if isinstance(expected, str):
        assert code(target.dynamodb.put_item, **request) == expected
    else:
        assert target.dynamodb.put_item(**request).get("Attributes") == expected


def test_delete_of_an_unknown_key_succeeds(target: Target) -> None:
    assert code(target.dynamodb.delete_item, TableName="stock", Key={"sku": {"S": "none"}}) == ACCEPTED


def test_delete_returns_the_old_item_on_request(target: Target) -> None:
    target.seed("stock", stock("A", 1))
    answer = target.dynamodb.delete_item(TableName="stock", Key={"sku": {"S": "A"}}, ReturnValues="ALL_OLD")
    assert answer["Attributes"] == stock("A", 1)
    assert target.items("stock") == []
