"""ConditionExpression: evaluation, refused expressions, and the answer of a failed condition."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.errors import ACCEPTED, code
from tests.conformance.tables import stock
from tests.conformance.targets import Target

FAILED = "ConditionalCheckFailedException"
NESTED = {"M": {"parts": {"L": [{"S": "x"}, {"S": "y"}]}}}
VALUES = {
    ":five": {"N": "5.0"},
    ":one": {"N": "1"},
    ":two": {"N": "2"},
    ":x": {"S": "x"},
    ":y": {"S": "y"},
    ":type": {"S": "S"},
    ":flag": {"BOOL": True},
}


def delete(expression: str) -> dict[str, Any]:
    """Return a delete of product A under a condition, with the placeholders that the condition uses."""
    words = expression.replace("(", " ").replace(")", " ").replace(",", " ").split()
    request: dict[str, Any] = {"TableName": "stock", "Key": {"sku": {"S": "A"}}, "ConditionExpression": expression}
    if used := {name: value for name, value in VALUES.items() if name in words}:
        request["ExpressionAttributeValues"] = used
    if "#available" in words:
        request["ExpressionAttributeNames"] = {"#available": "available"}
    return request


@pytest.mark.parametrize(
    "expression",
    [
        "available = :five",
        "absent <> :five",
        "available BETWEEN :one AND :five",
        "available IN (:one, :five)",
        "NOT available = :one AND available >= :five",
        "available = :five OR available = :one AND label = :x",
        "attribute_exists(label) and attribute_not_exists(absent)",
        "attribute_exists(nested.parts[1])",
        "nested.parts[0] = :x",
        "begins_with(label, :x)",
        "contains(label, :y)",
        "contains(nested.parts, :x)",
        "attribute_type(label, :type)",
        "size(label) = :two",
        "#available > :one",
    ],
)
def test_condition_that_holds_lets_the_write_through(target: Target, expression: str) -> None:
    target.seed("stock", stock("A", 5, label={"S": "xy"}, nested=NESTED))
    assert code(target.dynamodb.delete_item, **delete(expression)) == ACCEPTED


@pytest.mark.parametrize(
    "expression",
    [
        "available <> :five",
        "absent = :five",
        "absent < :five",
        "label < :five",
        "available BETWEEN :one AND :one",
        "(available = :five OR label = :five) AND available = :one",
        "attribute_exists(nested.parts[2])",
        "begins_with(available, :x)",
        "size(nested.parts) > :two",
    ],
)
def test_condition_that_does_not_hold_stops_the_write(target: Target, expression: str) -> None:
    target.seed("stock", stock("A", 5, label={"S": "xy"}, nested=NESTED))
    assert code(target.dynamodb.delete_item, **delete(expression)) == FAILED
    assert len(target.items("stock")) == 1


@pytest.mark.parametrize(
    "expression",
    [
        "available",
        "available = ",
        "available == :five",
        "available != :five",
        "available = :five AND",
        "available = :five label",
        "unknown(available, :five)",
        "attribute_exists(available, :five)",
        "attribute_exists(:five)",
        "if_not_exists(available, :five) = :five",
        "available LIKE :five",
        "available + :five > :five",
        "((available = :five))",
        "state = :five",
        "available = :undefined",
        "#undefined = :five",
        "available < :flag",
        "available & :five",
    ],
)
def test_malformed_condition_is_refused(target: Target, expression: str) -> None:
    assert code(target.dynamodb.delete_item, **delete(expression)) == "ValidationException"


def test_empty_condition_is_refused(target: Target) -> None:
    assert code(target.dynamodb.put_item, TableName="stock", Item=stock("A", 1), ConditionExpression="") == "ValidationException"


@pytest.mark.parametrize(
    "placeholders",
    [
        pytest.param({"ExpressionAttributeValues": {":unused": {"S": "x"}}}, id="unused value"),
        pytest.param({"ExpressionAttributeNames": {"#unused": "x"}}, id="unused name"),
        pytest.param({"ExpressionAttributeValues": {}}, id="no values"),
    ],
)
def test_unused_or_empty_placeholders_are_refused(target: Target, placeholders: dict[str, Any]) -> None:
    request = {"TableName": "stock", "Item": stock("A", 1), "ConditionExpression": "attribute_not_exists(sku)", **placeholders}
    assert code(target.dynamodb.put_item, **request) == "ValidationException"


def test_failed_condition_returns_the_item_only_on_request(target: Target) -> None:
    target.seed("stock", stock("A", 1))
    request: Any = {"TableName": "stock", "Item": stock("A", 9), "ConditionExpression": "attribute_not_exists(sku)"}
    failed = target.dynamodb.exceptions.ConditionalCheckFailedException
    with pytest.raises(failed) as plain:
        target.dynamodb.put_item(**request)
    with pytest.raises(failed) as error:
        target.dynamodb.put_item(**request, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert "Item" not in plain.value.response
    assert error.value.response["Item"] == stock("A", 1)
    assert target.items("stock") == [stock("A", 1)]
