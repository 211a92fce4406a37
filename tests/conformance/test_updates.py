"""UpdateExpression: changes of the item, and refused expressions."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.conformance.errors import code
from tests.conformance.tables import reservation, stock
from tests.conformance.targets import Target

BEFORE = {"sku": {"S": "A"}, "a": {"N": "1"}, "b": {"N": "2"}, "l": {"L": [{"S": "x"}, {"S": "y"}]}, "m": {"M": {}}, "s": {"SS": ["x"]}}
UPDATES: dict[str, dict[str, Any]] = {
    "SET a = :v": {"a": {"N": "5"}},
    "SET a = b, b = a": {"a": {"N": "2"}, "b": {"N": "1"}},
    "SET a = a + :v, b = b - :v": {"a": {"N": "6"}, "b": {"N": "-3"}},
    "SET c = if_not_exists(c, :v) + a": {"c": {"N": "6"}},
    "SET l = list_append(l, l)": {"l": {"L": [{"S": "x"}, {"S": "y"}, {"S": "x"}, {"S": "y"}]}},
    "SET l[0] = :v, m.part = :v": {"l": {"L": [{"N": "5"}, {"S": "y"}]}, "m": {"M": {"part": {"N": "5"}}}},
    "SET l[9] = :v": {"l": {"L": [{"S": "x"}, {"S": "y"}, {"N": "5"}]}},
    "REMOVE a, l[0]": {"a": None, "l": {"L": [{"S": "y"}]}},
    "REMOVE l[0], l[1]": {"l": {"L": []}},
    "ADD a :v, c :v SET b = :v": {"a": {"N": "6"}, "c": {"N": "5"}, "b": {"N": "5"}},
    "REMOVE absent": {},
}


def update(expression: str, value: Any = None, **more: Any) -> dict[str, Any]:
    """Return an update of product A; `:v` is the value."""
    values = {"ExpressionAttributeValues": {":v": value or {"N": "5"}}} if ":v" in expression else {}
    return {"TableName": "stock", "Key": {"sku": {"S": "A"}}, "UpdateExpression": expression, **values, **more}


@pytest.mark.parametrize(("expression", "expected"), UPDATES.items(), ids=UPDATES)
def test_update_changes_the_item(target: Target, expression: str, expected: dict[str, Any]) -> None:
    target.seed("stock", BEFORE)
    answer = target.dynamodb.update_item(**update(expression), ReturnValues="ALL_NEW")
    after = {name: value for name, value in {**BEFORE, **expected}.items() if value is not None}
    assert answer["Attributes"] == after
    assert target.items("stock") == [after]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("ADD s :v", ["x", "y"]), ("DELETE s :v", ["x"])],
    ids=["add", "delete"],
)
def test_update_changes_a_set(target: Target, expression: str, expected: list[str]) -> None:
    target.seed("stock", BEFORE)
    answer = target.dynamodb.update_item(**update(expression, {"SS": ["y"]}), ReturnValues="ALL_NEW")
    assert sorted(answer["Attributes"]["s"]["SS"]) == expected


def test_set_loses_its_attribute_with_its_last_member(target: Target) -> None:
    target.seed("stock", BEFORE)
    target.dynamodb.update_item(**update("DELETE s :v", {"SS": ["x"]}))
    assert "s" not in target.items("stock")[0]


@pytest.mark.parametrize(
    "expression",
    [
        "a = :v",
        "SET a",
        "SET absent = other + :v",
        "SET a = a + b + :v",
        "SET a = label + :v",
        "SET a = :v SET b = :v",
        "SET a = :v, a = :v",
        "SET a = :v REMOVE a",
        "SET absent.part = :v",
        "SET sku = :v",
        "SET a = size(label), b = :v",
        "ADD label :v",
        "MERGE a :v",
    ],
)
def test_malformed_update_is_refused(target: Target, expression: str) -> None:
    before = {**BEFORE, "label": {"S": "x"}}
    target.seed("stock", before)
    assert code(target.dynamodb.update_item, **update(expression)) == "ValidationException"
    assert target.items("stock") == [before]


def test_update_creates_a_missing_item(target: Target) -> None:
    request = update("ADD available :v")
    target.dynamodb.update_item(**request)
    assert target.items("stock") == [stock("A", 5)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("NONE", None),
        ("ALL_OLD", BEFORE),
        ("UPDATED_OLD", {"a": {"N": "1"}}),
        ("UPDATED_NEW", {"a": {"N": "6"}}),
    ],
    ids=["none", "all old", "updated old", "updated new"],
)
def test_update_returns_the_requested_attributes(target: Target, wanted: str, expected: Any) -> None:
    target.seed("stock", BEFORE)
    answer = target.dynamodb.update_item(**update("ADD a :v"), ReturnValues=wanted)
    assert answer.get("Attributes") == expected


def test_concurrent_updates_never_take_more_than_is_available(target: Target) -> None:
    target.seed("stock", stock("A", 20))
    codes: list[str] = []

    def buy() -> None:
        codes.extend(code(target.dynamodb.update_item, **reservation("A", 1)) for _ in range(10))

    threads = [threading.Thread(target=buy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.items("stock") == [stock("A", 0, taken={"N": "20"})]
    assert codes.count("ConditionalCheckFailedException") == 20
