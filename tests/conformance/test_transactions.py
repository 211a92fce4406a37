"""TransactWriteItems: all or nothing, cancellation reasons, tokens, limits."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from tests.conformance.errors import ACCEPTED, code
from tests.conformance.tables import entry, reservation, stock
from tests.conformance.targets import Target


def put(sku: str, available: int = 1) -> dict[str, Any]:
    return {"Put": {"TableName": "stock", "Item": stock(sku, available)}}


def cancelled(target: Target, *writes: dict[str, Any]) -> list[Any]:
    """Return the reasons why a transaction is cancelled, without their messages."""
    with pytest.raises(target.dynamodb.exceptions.TransactionCanceledException) as error:
        target.dynamodb.transact_write_items(TransactItems=list(writes))
    reasons: Any = error.value.response.get("CancellationReasons")
    return [{name: value for name, value in reason.items() if name != "Message"} for reason in reasons]


def test_transaction_puts_updates_deletes_and_checks(target: Target) -> None:
    target.seed("stock", stock("A", 5), stock("B", 1), stock("C", 1))
    check = {"TableName": "stock", "Key": {"sku": {"S": "C"}}, "ConditionExpression": "attribute_exists(sku)"}
    target.dynamodb.transact_write_items(
        TransactItems=[
            {"Update": reservation("A", 2)},
            {"Delete": {"TableName": "stock", "Key": {"sku": {"S": "B"}}}},
            {"ConditionCheck": check},
            {"Put": {"TableName": "log", "Item": entry("o", 1)}},
        ]
    )
    assert target.items("stock") == [stock("A", 3, taken={"N": "2"}), stock("C", 1)]
    assert target.items("log") == [entry("o", 1)]


def test_cancelled_transaction_changes_nothing(target: Target) -> None:
    target.seed("stock", stock("A", 5), stock("B", 1))
    cancelled(target, {"Update": reservation("A", 2)}, put("C"), {"Update": reservation("B", 2)})
    assert target.items("stock") == [stock("A", 5), stock("B", 1)]


def test_cancellation_has_a_reason_for_every_write(target: Target) -> None:
    target.seed("stock", stock("A", 5), stock("B", 1))
    reasons = cancelled(target, {"Update": reservation("A", 2)}, {"Update": reservation("B", 2)}, {"Update": reservation("C", 1)})
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed", "ConditionalCheckFailed"]


def test_cancellation_reason_has_the_item_only_on_request(target: Target) -> None:
    target.seed("stock", stock("B", 1), stock("C", 1))
    with_item = reservation("B", 2, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    reasons = cancelled(target, {"Update": with_item}, {"Update": reservation("C", 2)})
    assert [reason.get("Item") for reason in reasons] == [stock("B", 1), None]


def test_failed_condition_check_cancels_the_transaction(target: Target) -> None:
    check = {"TableName": "stock", "Key": {"sku": {"S": "C"}}, "ConditionExpression": "attribute_exists(sku)"}
    assert [reason["Code"] for reason in cancelled(target, put("A"), {"ConditionCheck": check})] == ["None", "ConditionalCheckFailed"]
    assert target.items("stock") == []


def test_update_of_a_missing_attribute_cancels_the_transaction(target: Target) -> None:
    update = {"TableName": "stock", "Key": {"sku": {"S": "A"}}, "UpdateExpression": "SET a = absent"}
    assert [reason["Code"] for reason in cancelled(target, {"Update": update})] == ["ValidationError"]


@pytest.mark.parametrize(
    "writes",
    [
        pytest.param([put(f"S{number}") for number in range(101)], id="101 items"),
        pytest.param([{"Update": reservation("A", 1)}, put("A")], id="same item twice"),
        pytest.param([{"Update": reservation("A", 1), "Delete": {"TableName": "stock", "Key": {"sku": {"S": "B"}}}}], id="two in one"),
        pytest.param([{}], id="nothing in one"),
    ],
)
def test_malformed_transaction_is_refused(target: Target, writes: Any) -> None:
    target.seed("stock", stock("A", 5))
    assert code(target.dynamodb.transact_write_items, TransactItems=writes) == "ValidationException"
    assert target.items("stock") == [stock("A", 5)]


def test_empty_transaction_is_refused(target: Target) -> None:
    with pytest.raises(ParamValidationError):
        target.dynamodb.transact_write_items(TransactItems=[])


def test_transaction_on_an_unknown_table_is_refused(target: Target) -> None:
    writes = [{"Put": {"TableName": "none", "Item": stock("A", 1)}}]
    assert code(target.dynamodb.transact_write_items, TransactItems=writes) == "ResourceNotFoundException"


def test_transaction_takes_100_items(target: Target) -> None:
    target.dynamodb.transact_write_items(TransactItems=[put(f"S{number}") for number in range(100)])
    assert len(target.items("stock")) == 100


def test_same_token_again_changes_nothing(target: Target) -> None:
    target.seed("stock", stock("A", 5))
    for _ in range(2):
        target.dynamodb.transact_write_items(TransactItems=[{"Update": reservation("A", 2)}], ClientRequestToken="once")
    assert target.items("stock") == [stock("A", 3, taken={"N": "2"})]


def test_same_token_with_other_writes_is_refused(target: Target) -> None:
    target.dynamodb.transact_write_items(TransactItems=[put("A")], ClientRequestToken="once")
    request: Any = {"TransactItems": [put("B")], "ClientRequestToken": "once"}
    assert code(target.dynamodb.transact_write_items, **request) == "IdempotentParameterMismatchException"


def test_concurrent_transactions_never_take_more_than_is_available(target: Target) -> None:
    target.seed("stock", stock("A", 10))
    codes: list[str] = []
    reasons: list[str] = []

    def buy(buyer: int) -> None:
        for number in range(5):
            log = {"Put": {"TableName": "log", "Item": entry(f"o{buyer}", number)}}
            try:
                target.dynamodb.transact_write_items(TransactItems=[log, {"Update": reservation("A", 1)}])
            except ClientError as error:
                response: Any = error.response
                reasons.extend(reason["Code"] for reason in response["CancellationReasons"])
            else:
                codes.append(ACCEPTED)

    threads = [threading.Thread(target=buy, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [item] = target.items("stock")
    assert int(item["taken"]["N"]) == len(codes) == len(target.items("log"))
    assert int(item["available"]["N"]) == 10 - len(codes)
    assert set(reasons) <= {"None", "ConditionalCheckFailed", "TransactionConflict"}
