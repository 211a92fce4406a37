"""The DynamoDB item codec and paging."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from orderflow.aws import dynamodb
from tests.fakes.aws.dynamodb import FakeDynamoDB, client_error
from tests.fakes.aws.environment import TABLES

SCALARS = st.text() | st.booleans() | st.integers(-(10**30), 10**30)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner), max_leaves=20)
ITEMS = st.dictionaries(st.text(min_size=1), VALUES | st.sets(st.text(), min_size=1))


@given(ITEMS)
def test_decode_inverts_encode(item: dict[str, Any]) -> None:
    assert dynamodb.decode_item(dynamodb.encode_item(item)) == item


@given(ITEMS)
def test_codec_agrees_with_boto3(item: dict[str, Any]) -> None:
    serialized = {name: TypeSerializer().serialize(value) for name, value in item.items()}
    ours = dynamodb.encode_item(item)
    assert {name: TypeDeserializer().deserialize(one) for name, one in ours.items()} == item
    assert dynamodb.decode_item(serialized) == item


@pytest.mark.parametrize("conflicts", [0, dynamodb.ATTEMPTS - 1, dynamodb.ATTEMPTS])
def test_write_of_an_item_in_a_transaction_is_retried(conflicts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb.time, "sleep", lambda _: None)
    database, left = FakeDynamoDB(*TABLES), iter(range(conflicts))

    def hold(operation: str, _parameters: Any) -> None:
        if next(left, None) is not None:
            raise client_error(operation, "TransactionConflictException", "Transaction is ongoing for the item")

    database.before = hold
    item = {"TableName": "Stock", "Item": {"sku": {"S": "MUG-BLUE"}}}
    if conflicts == dynamodb.ATTEMPTS:
        with pytest.raises(dynamodb.TransactionConflict):
            dynamodb.write_item(database.client, database.client.put_item, **item)
    else:
        dynamodb.write_item(database.client, database.client.put_item, **item)
        assert len(database.items("Stock")) == 1


def test_numbers_stay_whole_numbers() -> None:
    assert type(dynamodb.decode({"N": "12"})) is int


def test_time_becomes_utc_text_that_sorts_by_time() -> None:
    local = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert dynamodb.encode(local) == {"S": "2026-01-02T01:04:05.000000Z"}


def test_binary_values_survive_a_round_trip() -> None:
    assert dynamodb.decode(dynamodb.encode(b"\0\1")) == b"\0\1"


@pytest.mark.parametrize("value", [None, 1.5, object()])
def test_value_without_a_dynamodb_type_is_rejected(value: object) -> None:
    with pytest.raises(TypeError, match=type(value).__name__):
        dynamodb.encode(value)


def test_keys_and_expression_values_are_encoded_by_name() -> None:
    assert dynamodb.key(order_id="ord_1", version=2) == {"order_id": {"S": "ord_1"}, "version": {"N": "2"}}
    assert dynamodb.values(until=datetime(2026, 1, 2, tzinfo=UTC)) == {":until": {"S": "2026-01-02T00:00:00.000000Z"}}


def test_read_items_yields_every_page() -> None:
    database = FakeDynamoDB(*TABLES)
    for number in range(5):
        database.seed("Stock", dynamodb.encode_item({"sku": f"MUG-{number}", "available": number}))
    pages = dynamodb.read_items(database.client.scan, TableName="Stock", Limit=2)
    assert sorted(item["available"] for item in pages) == [0, 1, 2, 3, 4]


def test_read_item_returns_none_for_an_unknown_key() -> None:
    database = FakeDynamoDB(*TABLES)
    assert dynamodb.read_item(database.client, "Stock", dynamodb.key(sku="MUG")) is None
