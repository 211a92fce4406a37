"""The in-memory DynamoDB keeps the promises of the real one that the code under test builds on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError, ReadTimeoutError

from tests.fakes.aws import dynamodb
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, Index, Table

STOCK = Table("stock", {"sku": "S"})
LOG = Table(
    "log",
    {"order_id": "S", "version": "N"},
    {"open": Index({"shard": "S", "since": "S"}, "KEYS_ONLY"), "named": Index({"label": "S"}, ("note",))},
)


@pytest.fixture
def database() -> FakeDynamoDB:
    return FakeDynamoDB(STOCK, LOG)


def stock(sku: str, available: int) -> dict[str, Any]:
    return {"sku": {"S": sku}, "available": {"N": str(available)}}


def entry(order_id: str, version: int, **more: str) -> dict[str, Any]:
    return {"order_id": {"S": order_id}, "version": {"N": str(version)}, **{k: {"S": v} for k, v in more.items()}}


def take(sku: str, quantity: int, **more: Any) -> Any:
    return {
        "TableName": "stock",
        "Key": {"sku": {"S": sku}},
        "UpdateExpression": "SET available = available - :q, taken = if_not_exists(taken, :none) + :q",
        "ConditionExpression": "available >= :q",
        "ExpressionAttributeValues": {":q": {"N": str(quantity)}, ":none": {"N": "0"}},
        **more,
    }


def code(error: pytest.ExceptionInfo[ClientError]) -> str | None:
    return error.value.response.get("Error", {}).get("Code")


def test_get_returns_what_was_put_with_numbers_as_the_service_writes_them(database: FakeDynamoDB) -> None:
    item = {"sku": {"S": "A"}, "n": {"N": "007.50"}, "list": {"L": [{"N": "1e2"}, {"M": {"x": {"BOOL": True}}}]}}
    database.client.put_item(TableName="stock", Item=item)
    found = database.client.get_item(TableName="stock", Key={"sku": {"S": "A"}})
    assert found.get("Item") == {
        "sku": {"S": "A"},
        "n": {"N": "7.5"},
        "list": {"L": [{"N": "100"}, {"M": {"x": {"BOOL": True}}}]},
    }


def test_get_of_nothing_has_no_item(database: FakeDynamoDB) -> None:
    assert "Item" not in database.client.get_item(TableName="stock", Key={"sku": {"S": "none"}})


def test_answers_are_copies(database: FakeDynamoDB) -> None:
    database.seed("stock", stock("A", 1))
    answer: Any = database.client.get_item(TableName="stock", Key={"sku": {"S": "A"}})
    answer["Item"]["available"]["N"] = "99"
    assert database.items("stock") == [stock("A", 1)]


@pytest.mark.parametrize(
    "parameters",
    [
        {"TableName": "stock"},
        {"TableName": "stock", "Item": {"sku": {"S": 1}}},
        {"TableName": "stock", "Item": {"sku": {"S": "A"}}, "ConditionExpresion": "attribute_not_exists(sku)"},
    ],
)
def test_parameters_that_botocore_refuses_are_refused(database: FakeDynamoDB, parameters: dict[str, Any]) -> None:
    with pytest.raises(ParamValidationError):
        database.put_item(**parameters)
    assert not database.calls


@pytest.mark.parametrize(
    "item",
    [
        {"available": {"N": "1"}},
        {"sku": {"N": "1"}},
        {"sku": {"S": ""}},
        {"sku": {"S": "A"}, "n": {"N": "one"}},
        {"sku": {"S": "A"}, "n": {"N": "1" * 39}},
        {"sku": {"S": "A"}, "n": {"N": "NaN"}},
        {"sku": {"S": "A"}, "set": {"SS": []}},
        {"sku": {"S": "A"}, "both": {"S": "1", "N": "1"}},
        {"sku": {"S": "A"}, "big": {"S": "x" * 410_000}},
    ],
)
def test_items_that_the_service_refuses_are_refused(database: FakeDynamoDB, item: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as error:
        database.put_item(TableName="stock", Item=item)
    assert code(error) == "ValidationException"
    assert database.items("stock") == []


def test_an_index_key_of_the_wrong_type_is_refused(database: FakeDynamoDB) -> None:
    with pytest.raises(ClientError, match="shard"):
        database.put_item(TableName="log", Item={**entry("o", 1), "shard": {"N": "1"}})


def test_a_failed_condition_returns_the_item_only_when_asked(database: FakeDynamoDB) -> None:
    database.seed("stock", stock("A", 1))
    request: Any = {"TableName": "stock", "Item": stock("A", 9), "ConditionExpression": "attribute_not_exists(sku)"}
    with pytest.raises(database.client.exceptions.ConditionalCheckFailedException) as plain:
        database.client.put_item(**request)
    with pytest.raises(database.client.exceptions.ConditionalCheckFailedException) as asked:
        database.client.put_item(**request, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert "Item" not in plain.value.response
    assert asked.value.response.get("Item") == stock("A", 1)
    assert database.items("stock") == [stock("A", 1)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("available = :five", True),
        ("available <> :five", False),
        ("missing <> :five", True),
        ("missing = :five", False),
        ("missing < :five", False),
        ("label < :five", False),
        ("available BETWEEN :one AND :five", True),
        ("available BETWEEN :one AND :one", False),
        ("available IN (:one, :five)", True),
        ("NOT available = :one AND available >= :five", True),
        ("available = :five OR available = :one AND label = :x", True),
        ("(available = :five OR label = :five) AND available = :one", False),
        ("attribute_exists(label) and attribute_not_exists(missing)", True),
        ("attribute_exists(nested.inner[1])", True),
        ("attribute_exists(nested.inner[2])", False),
        ("nested.inner[0] = :x", True),
        ("begins_with(label, :x)", True),
        ("begins_with(available, :x)", False),
        ("contains(label, :y)", True),
        ("contains(nested.inner, :x)", True),
        ("attribute_type(label, :type)", True),
        ("size(label) = :two", True),
        ("size(nested.inner) > :two", False),
        ("#available > :one", True),
    ],
)
def test_conditions(database: FakeDynamoDB, expression: str, expected: bool) -> None:
    nested = {"M": {"inner": {"L": [{"S": "x"}, {"S": "y"}]}}}
    database.seed("stock", {**stock("A", 5), "label": {"S": "xy"}, "nested": nested})
    values = {":five": {"N": "5.0"}, ":one": {"N": "1"}, ":two": {"N": "2"}}
    values |= {":x": {"S": "x"}, ":y": {"S": "y"}, ":type": {"S": "S"}}
    names = {"ExpressionAttributeNames": {"#available": "available"}} if "#" in expression else {}
    used = {name: value for name, value in values.items() if name in expression.replace("(", " ").replace(")", " ")}
    request: Any = {"TableName": "stock", "Key": {"sku": {"S": "A"}}, "ConditionExpression": expression, **names}
    if used:
        request["ExpressionAttributeValues"] = used
    if expected:
        database.delete_item(**request)
    else:
        with pytest.raises(ClientError, match="conditional request failed"):
            database.delete_item(**request)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "available",
        "available = ",
        "available == :q",
        "available != :q",
        "available = :q AND",
        "available = :q label",
        "unknown(available, :q)",
        "attribute_exists(available, :q)",
        "attribute_exists(:q)",
        "if_not_exists(available, :q) = :q",
        "available LIKE :q",
        "available + :q > :q",
        "((available = :q))",
        "state = :q",
        "available = :undefined",
        "#undefined = :q",
        "available < :flag AND available = :q",
        "available & :q",
    ],
)
def test_expressions_that_the_service_refuses_are_refused(database: FakeDynamoDB, expression: str) -> None:
    values: dict[str, Any] = {":q": {"N": "5"}}
    if ":flag" in expression:
        values[":flag"] = {"BOOL": True}
    request: Any = {"TableName": "stock", "Key": {"sku": {"S": "A"}}, "ConditionExpression": expression}
    with pytest.raises(ClientError) as error:
        database.delete_item(**request, ExpressionAttributeValues=values)
    assert code(error) == "ValidationException"


@pytest.mark.parametrize(
    "placeholders",
    [
        {"ExpressionAttributeValues": {":unused": {"S": "x"}}},
        {"ExpressionAttributeNames": {"#unused": "x"}},
        {"ExpressionAttributeValues": {}},
    ],
)
def test_unused_and_empty_placeholders_are_refused(database: FakeDynamoDB, placeholders: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match=r"unused|empty"):
        database.put_item(TableName="stock", Item=stock("A", 1), ConditionExpression="attribute_not_exists(sku)", **placeholders)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("SET a = :five", {"a": {"N": "5"}}),
        ("SET a = b, b = a", {"a": {"N": "2"}, "b": {"N": "1"}}),
        ("SET a = a + :five, b = b - :five", {"a": {"N": "6"}, "b": {"N": "-3"}}),
        ("SET c = if_not_exists(c, :five) + a", {"c": {"N": "6"}}),
        ("SET l = list_append(l, l)", {"l": {"L": [{"S": "x"}, {"S": "y"}, {"S": "x"}, {"S": "y"}]}}),
        ("SET l[0] = :five, m.inner = :five", {"l": {"L": [{"N": "5"}, {"S": "y"}]}, "m": {"M": {"inner": {"N": "5"}}}}),
        ("REMOVE a, l[0]", {"a": None, "l": {"L": [{"S": "y"}]}}),
        ("REMOVE l[0], l[1]", {"l": {"L": []}}),
        ("ADD a :five, c :five SET b = :five", {"a": {"N": "6"}, "c": {"N": "5"}, "b": {"N": "5"}}),
        ("REMOVE missing", {}),
    ],
)
def test_updates(database: FakeDynamoDB, expression: str, expected: dict[str, Any]) -> None:
    before = {
        "sku": {"S": "A"},
        "a": {"N": "1"},
        "b": {"N": "2"},
        "l": {"L": [{"S": "x"}, {"S": "y"}]},
        "m": {"M": {}},
    }
    database.seed("stock", before)
    values = {"ExpressionAttributeValues": {":five": {"N": "5"}}} if ":five" in expression else {}
    answer = database.update_item(TableName="stock", Key={"sku": {"S": "A"}}, UpdateExpression=expression, ReturnValues="ALL_NEW", **values)
    after = {name: value for name, value in {**before, **expected}.items() if value is not None}
    assert answer["Attributes"] == after
    assert database.items("stock") == [after]


@pytest.mark.parametrize(
    "expression",
    [
        "a = :v",
        "SET a",
        "SET missing = other + :v",
        "SET a = a + label + :v",
        "SET a = label + :v",
        "SET a = :v SET b = :v",
        "SET a = :v, a = :v",
        "SET a = :v REMOVE a",
        "SET missing.inner = :v",
        "SET sku = :v",
        "SET a = size(label), b = :v",
        "ADD label :v",
        "MERGE a :v",
    ],
)
def test_updates_that_the_service_refuses_are_refused(database: FakeDynamoDB, expression: str) -> None:
    before = {"sku": {"S": "A"}, "a": {"N": "1"}, "label": {"S": "x"}}
    database.seed("stock", before)
    with pytest.raises(ClientError) as error:
        database.update_item(
            TableName="stock",
            Key={"sku": {"S": "A"}},
            UpdateExpression=expression,
            ExpressionAttributeValues={":v": {"N": "1"}},
        )
    assert code(error) == "ValidationException"
    assert database.items("stock") == [before]


def test_an_update_creates_the_item_it_does_not_find(database: FakeDynamoDB) -> None:
    database.client.update_item(
        TableName="stock",
        Key={"sku": {"S": "A"}},
        UpdateExpression="ADD available :n",
        ExpressionAttributeValues={":n": {"N": "3"}},
    )
    assert database.items("stock") == [stock("A", 3)]


def query(database: FakeDynamoDB, **more: Any) -> Any:
    return database.query(
        TableName="log",
        KeyConditionExpression="order_id = :id",
        ExpressionAttributeValues={":id": {"S": "o"}},
        **more,
    )


def versions(answer: Any) -> list[int]:
    return [int(item["version"]["N"]) for item in answer["Items"]]


def test_a_query_sorts_numbers_as_numbers_in_either_direction(database: FakeDynamoDB) -> None:
    database.seed("log", *(entry("o", version) for version in (10, 9, 1)), entry("other", 2))
    assert versions(query(database)) == [1, 9, 10]
    assert versions(query(database, ScanIndexForward=False)) == [10, 9, 1]


def test_a_query_goes_on_page_by_page_though_items_disappear(database: FakeDynamoDB) -> None:
    database.seed("log", *(entry("o", version) for version in range(1, 5)))
    first = query(database, Limit=2)
    assert first["LastEvaluatedKey"] == entry("o", 2)
    database.delete_item(TableName="log", Key=entry("o", 2))
    second = query(database, Limit=2, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert versions(second) == [3, 4]
    last = query(database, Limit=2, ExclusiveStartKey=second["LastEvaluatedKey"])
    assert versions(last) == []
    assert "LastEvaluatedKey" not in last


def test_a_page_ends_after_a_megabyte(database: FakeDynamoDB) -> None:
    database.seed("log", *(entry("o", version, body="x" * 390_000) for version in range(1, 5)))
    first = query(database)
    assert versions(first) == [1, 2, 3]
    assert versions(query(database, ExclusiveStartKey=first["LastEvaluatedKey"])) == [4]


def test_a_filter_applies_after_the_limit(database: FakeDynamoDB) -> None:
    database.seed("log", entry("o", 1), entry("o", 2, label="yes"))
    answer = query(database, Limit=1, FilterExpression="attribute_exists(label)")
    assert answer["Items"] == []
    assert (answer["Count"], answer["ScannedCount"]) == (0, 1)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("order_id = :id AND version > :two", [3, 4]),
        ("version BETWEEN :two AND :three AND order_id = :id", [2, 3]),
        ("order_id = :id AND version = :three", [3]),
    ],
)
def test_key_conditions(database: FakeDynamoDB, condition: str, expected: list[int]) -> None:
    database.seed("log", *(entry("o", version) for version in range(1, 5)))
    values = {":id": {"S": "o"}, ":two": {"N": "2"}, ":three": {"N": "3"}}
    used = {name: value for name, value in values.items() if name in condition}
    answer = database.query(TableName="log", KeyConditionExpression=condition, ExpressionAttributeValues=used)
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
def test_key_conditions_that_the_service_refuses_are_refused(database: FakeDynamoDB, condition: str) -> None:
    values = {":id": {"S": "o"}, ":v": {"N": "2"}}
    used = {name: value for name, value in values.items() if name in condition}
    with pytest.raises(ClientError) as error:
        database.query(TableName="log", KeyConditionExpression=condition, ExpressionAttributeValues=used)
    assert code(error) == "ValidationException"


def open_query(**more: Any) -> dict[str, Any]:
    return {
        "TableName": "log",
        "IndexName": "open",
        "KeyConditionExpression": "#shard = :shard AND since < :limit",
        "ExpressionAttributeNames": {"#shard": "shard"},
        "ExpressionAttributeValues": {":shard": {"S": "0"}, ":limit": {"S": "2030"}},
        **more,
    }


def test_a_sparse_index_holds_only_items_with_its_keys_and_only_their_keys(database: FakeDynamoDB) -> None:
    database.seed(
        "log",
        entry("late", 1, shard="0", since="2029", note="n"),
        entry("early", 1, shard="0", since="2028", note="n"),
        entry("future", 1, shard="0", since="2031"),
        entry("closed", 1),
        entry("half", 1, shard="0"),
        entry("elsewhere", 1, shard="1", since="2028"),
    )
    assert database.query(**open_query())["Items"] == [
        entry("early", 1, shard="0", since="2028"),
        entry("late", 1, shard="0", since="2029"),
    ]


def test_equal_index_keys_are_paged_without_loss(database: FakeDynamoDB) -> None:
    database.seed("log", *(entry(f"o{number}", 1, shard="0", since="2028") for number in range(5)))
    found: list[Any] = []
    start: dict[str, Any] = {}
    while True:
        page = database.query(**open_query(Limit=2, **start))
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            break
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    assert [item["order_id"]["S"] for item in found] == ["o0", "o1", "o2", "o3", "o4"]


def test_a_consistent_read_of_an_index_is_refused(database: FakeDynamoDB) -> None:
    with pytest.raises(ClientError, match="Consistent"):
        database.query(**open_query(ConsistentRead=True))


def test_scan_projection_and_batch_get(database: FakeDynamoDB) -> None:
    database.seed("log", entry("o", 2, label="x", note="n"), entry("o", 1))
    scanned = database.scan(TableName="log", ProjectionExpression="version")
    assert versions(scanned) == [1, 2]
    by_label = database.scan(TableName="log", IndexName="named")
    assert by_label["Items"] == [entry("o", 2, label="x", note="n")]
    keys = [entry("o", 2), entry("o", 7)]
    got = database.batch_get_item(RequestItems={"log": {"Keys": keys, "ProjectionExpression": "note"}})
    assert got["Responses"] == {"log": [{"note": {"S": "n"}}]}


def test_a_batch_get_with_a_key_twice_is_refused(database: FakeDynamoDB) -> None:
    with pytest.raises(ClientError, match="duplicates"):
        database.batch_get_item(RequestItems={"log": {"Keys": [entry("o", 1), entry("o", 1)]}})


def test_what_is_not_built_raises(database: FakeDynamoDB) -> None:
    with pytest.raises(NotImplementedError, match="ReturnConsumedCapacity"):
        database.put_item(TableName="stock", Item=stock("A", 1), ReturnConsumedCapacity="TOTAL")


def test_an_unknown_table_is_an_error(database: FakeDynamoDB) -> None:
    with pytest.raises(database.client.exceptions.ResourceNotFoundException):
        database.client.get_item(TableName="none", Key={"sku": {"S": "A"}})


def test_a_transaction_does_all_or_nothing_and_says_why(database: FakeDynamoDB) -> None:
    database.seed("stock", stock("A", 5), stock("B", 1))
    writes = [
        {"Update": take("A", 2)},
        {"Update": take("B", 2, ReturnValuesOnConditionCheckFailure="ALL_OLD")},
        {"Update": take("C", 1, ReturnValuesOnConditionCheckFailure="ALL_OLD")},
    ]
    with pytest.raises(database.client.exceptions.TransactionCanceledException) as error:
        database.transact_write_items(TransactItems=writes)
    assert error.value.response.get("CancellationReasons") == [
        {"Code": "None"},
        {
            "Code": "ConditionalCheckFailed",
            "Message": "The conditional request failed",
            "Item": stock("B", 1),
        },
        {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"},
    ]
    assert database.items("stock") == [stock("A", 5), stock("B", 1)]


def test_a_transaction_puts_updates_deletes_and_checks(database: FakeDynamoDB) -> None:
    database.seed("stock", stock("A", 5), stock("B", 1), stock("C", 1))
    check = {"TableName": "stock", "Key": {"sku": {"S": "C"}}, "ConditionExpression": "attribute_exists(sku)"}
    database.transact_write_items(
        TransactItems=[
            {"Update": take("A", 2)},
            {"Delete": {"TableName": "stock", "Key": {"sku": {"S": "B"}}}},
            {"ConditionCheck": check},
            {"Put": {"TableName": "log", "Item": entry("o", 1)}},
        ]
    )
    assert database.items("stock") == [{**stock("A", 3), "taken": {"N": "2"}}, stock("C", 1)]
    assert database.items("log") == [entry("o", 1)]
    assert [change["eventName"] for change in database.changes["stock"]] == ["INSERT"] * 3 + ["MODIFY", "REMOVE"]


@pytest.mark.parametrize(
    "writes",
    [
        [{"Put": {"TableName": "stock", "Item": stock(f"S{number}", 1)}} for number in range(101)],
        [{"Update": take("A", 1)}, {"Put": {"TableName": "stock", "Item": stock("A", 1)}}],
        [{"Update": take("A", 1), "Delete": {"TableName": "stock", "Key": {"sku": {"S": "B"}}}}],
        [{}],
    ],
)
def test_transactions_that_the_service_refuses_are_refused(database: FakeDynamoDB, writes: Any) -> None:
    database.seed("stock", stock("A", 5))
    with pytest.raises(ClientError) as error:
        database.transact_write_items(TransactItems=writes)
    assert code(error) == "ValidationException"
    assert database.items("stock") == [stock("A", 5)]


def test_an_empty_transaction_is_refused(database: FakeDynamoDB) -> None:
    with pytest.raises(ParamValidationError):
        database.transact_write_items(TransactItems=[])


def test_a_hundred_items_fit_into_a_transaction(database: FakeDynamoDB) -> None:
    writes: Any = [{"Put": {"TableName": "stock", "Item": stock(f"S{number}", 1)}} for number in range(100)]
    database.client.transact_write_items(TransactItems=writes)
    assert len(database.items("stock")) == 100


def test_a_transaction_with_a_known_token_changes_nothing(database: FakeDynamoDB) -> None:
    database.seed("stock", stock("A", 5))
    for _ in range(2):
        database.client.transact_write_items(TransactItems=[{"Update": take("A", 2)}], ClientRequestToken="once")
    assert database.items("stock") == [{**stock("A", 3), "taken": {"N": "2"}}]
    with pytest.raises(database.client.exceptions.IdempotentParameterMismatchException):
        database.client.transact_write_items(TransactItems=[{"Update": take("A", 1)}], ClientRequestToken="once")


def test_a_crash_before_a_call_leaves_nothing_and_after_it_everything(database: FakeDynamoDB) -> None:
    database.before = dynamodb.crash_at("PutItem")
    with pytest.raises(Crash):
        database.put_item(TableName="stock", Item=stock("A", 1))
    assert database.items("stock") == []
    database.before, database.after = None, dynamodb.crash_at("PutItem", call=2)
    database.put_item(TableName="stock", Item=stock("A", 1))
    with pytest.raises(Crash):
        database.put_item(TableName="stock", Item=stock("B", 1))
    assert database.items("stock") == [stock("A", 1), stock("B", 1)]
    assert database.calls == {"PutItem": 3}


def fail_once(error: Exception) -> dynamodb.Hook:
    errors = [error]

    def hook(_operation: str, _parameters: dict[str, Any]) -> None:
        if errors:
            raise errors.pop()

    return hook


def test_without_attempts_a_throttled_call_fails(database: FakeDynamoDB) -> None:
    database.before = fail_once(dynamodb.throttled("PutItem"))
    with pytest.raises(database.client.exceptions.ThrottlingException):
        database.put_item(TableName="stock", Item=stock("A", 1))


def test_a_lost_answer_is_asked_for_again_as_botocore_does() -> None:
    database = FakeDynamoDB(STOCK, attempts=3)
    database.after = fail_once(dynamodb.answer_lost())
    with pytest.raises(database.client.exceptions.ConditionalCheckFailedException):
        database.put_item(TableName="stock", Item=stock("A", 1), ConditionExpression="attribute_not_exists(sku)")
    database.after = fail_once(dynamodb.server_error("TransactWriteItems"))
    database.transact_write_items(TransactItems=[{"Update": take("A", 1)}])
    assert database.items("stock") == [{**stock("A", 0), "taken": {"N": "1"}}]
    assert database.calls == {"PutItem": 2, "TransactWriteItems": 2}


def test_attempts_end(database: FakeDynamoDB) -> None:
    database = FakeDynamoDB(STOCK, attempts=2)

    def never(operation: str, parameters: dict[str, Any]) -> None:
        raise dynamodb.answer_lost()

    database.before = never
    with pytest.raises(ReadTimeoutError):
        database.put_item(TableName="stock", Item=stock("A", 1))
    assert database.calls["PutItem"] == 2


def test_a_conflict_between_transactions_can_be_played(database: FakeDynamoDB) -> None:
    writes: Any = [{"Update": take("A", 1)}, {"Update": take("B", 1)}]
    database.before = fail_once(dynamodb.conflict({"TransactItems": writes}))
    with pytest.raises(database.client.exceptions.TransactionCanceledException) as error:
        database.client.transact_write_items(TransactItems=writes)
    reasons = error.value.response.get("CancellationReasons", [])
    assert [reason.get("Code") for reason in reasons] == ["TransactionConflict", "None"]


def test_threads_never_take_more_than_there_is(database: FakeDynamoDB) -> None:
    database.seed("stock", stock("A", 50))
    refused: list[str] = []

    def buy() -> None:
        for _ in range(20):
            try:
                database.client.update_item(**take("A", 1))
            except ClientError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=buy) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.items("stock") == [{**stock("A", 0), "taken": {"N": "50"}}]
    assert len(refused) == 110
    assert database.calls["UpdateItem"] == 160


def test_tables_can_be_read_from_a_template(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(
        """
Resources:
  OrderLog:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: !Sub "${AWS::StackName}-log"
      AttributeDefinitions:
        - {AttributeName: order_id, AttributeType: S}
        - {AttributeName: version, AttributeType: N}
        - {AttributeName: open_shard, AttributeType: S}
      KeySchema:
        - {AttributeName: version, KeyType: RANGE}
        - {AttributeName: order_id, KeyType: HASH}
      GlobalSecondaryIndexes:
        - IndexName: open-orders
          KeySchema: [{AttributeName: open_shard, KeyType: HASH}]
          Projection: {ProjectionType: KEYS_ONLY}
      Tags: !If [Cloud, [{Key: a, Value: !Ref Stage}], !Ref AWS::NoValue]
  Bus:
    Type: AWS::Events::EventBus
"""
    )
    (table,) = dynamodb.tables_of(template)
    assert table == Table("OrderLog", {"order_id": "S", "version": "N"}, {"open-orders": Index({"open_shard": "S"}, "KEYS_ONLY")})
    assert list(table.key) == ["order_id", "version"]
