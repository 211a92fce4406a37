"""`make restore AT=` on moto: DynamoDB restores the log into a new table, whose items are copied back without being published again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from devtools import target as targets
from devtools.cli import UserError
from devtools.commands import parsed
from devtools.ops import restore

pytestmark = pytest.mark.service

AT = "2026-11-28T11:00:00Z"
RESTORED = "shop-OrderLog-restored-20261128T110000"
ITEMS = [
    {"order_id": {"S": f"ord_{order}"}, "version": {"N": str(version)}, "event": {"S": "{}"}, "outbox": {"S": "1"}}
    for order in range(30)
    for version in (1, 2)
]


class LostAfterwards:
    """A client of DynamoDB whose table loses its items once it is restored: moto restores the present items for any time."""

    def __init__(self, client: Any) -> None:
        self.client, self.asked = client, list[dict[str, Any]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def restore_table_to_point_in_time(self, **request: Any) -> Any:
        self.asked.append(request)
        answer = self.client.restore_table_to_point_in_time(**request)
        for item in self.client.scan(TableName=request["SourceTableName"])["Items"]:
            self.client.delete_item(TableName=request["SourceTableName"], Key={name: item[name] for name in ("order_id", "version")})
        return answer


@pytest.fixture
def dynamodb() -> Iterator[LostAfterwards]:
    """A log with items."""
    from moto import mock_aws  # noqa: PLC0415 - it takes a second, and `make unit` does not need it

    with mock_aws():
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        client: Any = session.client("dynamodb")
        client.create_table(
            TableName="shop-order-log",
            KeySchema=[{"AttributeName": "order_id", "KeyType": "HASH"}, {"AttributeName": "version", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": "order_id", "AttributeType": "S"}, {"AttributeName": "version", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for item in ITEMS:
            client.put_item(TableName="shop-order-log", Item=item)
        yield LostAfterwards(client)


@pytest.fixture
def log(dynamodb: LostAfterwards, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LostAfterwards:
    """The log of the stack that `make restore` works on."""
    tables = {"OrderLog": "shop-order-log"}
    stack = SimpleNamespace(stack="shop", local=True, resources=tables, client=lambda _: dynamodb, physical_ids=lambda _: tables)
    monkeypatch.setattr(targets, "chosen", lambda _: stack)
    monkeypatch.setattr(targets, "LOCAL", tmp_path)
    return dynamodb


def items(log: LostAfterwards, table: str) -> list[dict[str, Any]]:
    found = log.client.scan(TableName=table)["Items"]
    return sorted(found, key=lambda item: (item["order_id"]["S"], item["version"]["N"]))


def test_log_is_restored_from_a_point_in_time(log: LostAfterwards) -> None:
    restore.main(parsed("restore", "--table", "OrderLog", "--at", AT))

    expected = [{name: item[name] for name in ("order_id", "version", "event")} | {"published": {"BOOL": True}} for item in ITEMS]
    assert items(log, "shop-order-log") == sorted(expected, key=lambda item: (item["order_id"]["S"], item["version"]["N"]))
    assert [(one["TargetTableName"], one["RestoreDateTime"]) for one in log.asked] == [
        (RESTORED, datetime(2026, 11, 28, 11, tzinfo=UTC)),
    ]


def test_repeated_restore_uses_the_restored_table(log: LostAfterwards) -> None:
    restore.main(parsed("restore", "--table", "OrderLog", "--at", AT))
    with pytest.raises(UserError, match="shop-order-log is not empty: restore into an empty stack"):
        restore.main(parsed("restore", "--table", "OrderLog", "--at", AT))

    assert len(log.asked) == 1
