"""The in-memory DynamoDB beyond its operations: copies, injected failures, retries, and tables of a template.

tests/conformance compares its operations with AWS's documentation, the emulator and moto.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ParamValidationError, ReadTimeoutError

from tests.conformance.tables import TABLES, reservation, stock
from tests.fakes.aws import dynamodb
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, Index, Table


@pytest.fixture
def database() -> FakeDynamoDB:
    return FakeDynamoDB(*TABLES.values())


def test_answers_are_copies(database: FakeDynamoDB) -> None:
    database.seed("stock", stock("A", 1))
    answer: Any = database.client.get_item(TableName="stock", Key={"sku": {"S": "A"}})
    answer["Item"]["available"]["N"] = "99"
    assert database.items("stock") == [stock("A", 1)]


def test_unimplemented_parameter_raises(database: FakeDynamoDB) -> None:
    with pytest.raises(NotImplementedError, match="ReturnConsumedCapacity"):
        database.put_item(TableName="stock", Item=stock("A", 1), ReturnConsumedCapacity="TOTAL")


def test_crash_before_a_call_has_no_effect_and_after_it_has(database: FakeDynamoDB) -> None:
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


def test_call_with_invalid_parameters_is_not_counted(database: FakeDynamoDB) -> None:
    with pytest.raises(ParamValidationError):
        database.put_item(TableName="stock")
    assert not database.calls


def test_unprocessed_keys_are_left_for_another_call(database: FakeDynamoDB) -> None:
    database.seed("stock", stock("A", 1), stock("B", 1))
    keys = [{"sku": {"S": "A"}}, {"sku": {"S": "B"}}]
    database.unprocessed = 1
    answer = database.batch_get_item(RequestItems={"stock": {"Keys": keys}})
    assert answer["Responses"] == {"stock": [stock("A", 1)]}
    assert answer["UnprocessedKeys"] == {"stock": {"Keys": [{"sku": {"S": "B"}}]}}


def fail_once(error: Exception) -> dynamodb.Hook:
    errors = [error]

    def hook(_operation: str, _parameters: dict[str, Any]) -> None:
        if errors:
            raise errors.pop()

    return hook


def test_throttled_call_fails_with_one_attempt(database: FakeDynamoDB) -> None:
    database.before = fail_once(dynamodb.throttled("PutItem"))
    with pytest.raises(database.client.exceptions.ThrottlingException):
        database.put_item(TableName="stock", Item=stock("A", 1))


def test_lost_answer_is_retried_like_botocore_does() -> None:
    database = FakeDynamoDB(*TABLES.values(), attempts=3)
    database.after = fail_once(dynamodb.answer_lost())
    with pytest.raises(database.client.exceptions.ConditionalCheckFailedException):
        database.put_item(TableName="stock", Item=stock("A", 1), ConditionExpression="attribute_not_exists(sku)")
    database.after = fail_once(dynamodb.server_error("TransactWriteItems"))
    database.transact_write_items(TransactItems=[{"Update": reservation("A", 1)}])
    assert database.items("stock") == [stock("A", 0, taken={"N": "1"})]
    assert database.calls == {"PutItem": 2, "TransactWriteItems": 2}


def test_retries_end_with_the_last_attempt(database: FakeDynamoDB) -> None:
    database = FakeDynamoDB(*TABLES.values(), attempts=2)

    def lose_every_answer(operation: str, parameters: dict[str, Any]) -> None:
        raise dynamodb.answer_lost()

    database.before = lose_every_answer
    with pytest.raises(ReadTimeoutError):
        database.put_item(TableName="stock", Item=stock("A", 1))
    assert database.calls["PutItem"] == 2


def test_transaction_conflict_can_be_injected(database: FakeDynamoDB) -> None:
    writes: Any = [{"Update": reservation("A", 1)}, {"Update": reservation("B", 1)}]
    database.before = fail_once(dynamodb.conflict({"TransactItems": writes}))
    with pytest.raises(database.client.exceptions.TransactionCanceledException) as error:
        database.client.transact_write_items(TransactItems=writes)
    reasons = error.value.response.get("CancellationReasons", [])
    assert [reason.get("Code") for reason in reasons] == ["TransactionConflict", "None"]


def test_tables_are_read_from_a_template(tmp_path: Path) -> None:
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
