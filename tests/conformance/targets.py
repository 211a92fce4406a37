"""The targets of the conformance tests: the in-memory AWS of this project, the embedded emulator, and moto."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from devtools import web
from devtools.local import emulator
from tests.conformance.tables import TABLES
from tests.fakes.aws.dynamodb import FakeDynamoDB, Table
from tests.fakes.aws.eventbridge import FakeEventBridge
from tests.fakes.aws.kinesis import FakeKinesis
from tests.fakes.aws.sqs import FakeSqs

FAKE, EMULATOR, MOTO = "fake", "emulator", "moto"
NAMES = (FAKE, EMULATOR, MOTO)
STREAM = "events"
_REGION = "us-east-1"


@dataclass(frozen=True)
class Target:
    """The clients of one target. Its tables, queue and stream are empty at first."""

    name: str
    dynamodb: Any
    sqs: Any
    events: Any
    kinesis: Any
    queue_url: str
    # Returns the stream records of a table, oldest first.
    changes: Callable[[str], list[dict[str, Any]]]

    def seed(self, table: str, *items: dict[str, Any]) -> None:
        """Put items into a table."""
        for item in items:
            self.dynamodb.put_item(TableName=table, Item=item)

    def items(self, table: str) -> list[dict[str, Any]]:
        """Return all items of a small table in the order of their keys."""
        found = self.dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]
        return sorted(found, key=lambda item: [(len(part), part) for part in (str(*item[name].values()) for name in TABLES[table].key)])


def fake() -> Target:
    """Return the in-memory AWS."""
    database = FakeDynamoDB(*TABLES.values())
    return Target(
        FAKE,
        database.client,
        FakeSqs(),
        FakeEventBridge(),
        FakeKinesis(),
        "https://sqs.invalid/queue",
        lambda table: database.changes[table],
    )


@contextmanager
def emulated() -> Iterator[str]:
    """Run an emulator on a port of its own; yields its endpoint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    emulator.start(port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        emulator.stop(port)


def at(endpoint: str) -> Target:
    """Return the emulator at an endpoint, emptied."""
    web.call("POST", f"{endpoint}/_ministack/reset")
    return _through_boto3(EMULATOR, endpoint)


@contextmanager
def mocked() -> Iterator[Target]:
    """Yield moto, emptied."""
    # The import takes a second and `make unit` does not need it.
    from moto import mock_aws  # noqa: PLC0415

    with mock_aws():
        yield _through_boto3(MOTO, None)


def _through_boto3(name: str, endpoint: str | None) -> Target:
    dynamodb, sqs, kinesis, streams = (_client(service, endpoint) for service in ("dynamodb", "sqs", "kinesis", "dynamodbstreams"))
    for table in TABLES.values():
        _create(dynamodb, table)
    kinesis.create_stream(StreamName=STREAM, ShardCount=1)
    queue_url = sqs.create_queue(QueueName="queue")["QueueUrl"]
    events = _client("events", endpoint)
    return Target(name, dynamodb, sqs, events, kinesis, queue_url, lambda table: _stream_records(dynamodb, streams, table))


@cache
def _client(service: Any, endpoint: str | None) -> Any:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=_REGION)
    return session.client(service, endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))


def _create(dynamodb: Any, table: Table) -> None:
    keys = [table.key, *(index.key for index in table.indexes.values())]
    types = {name: kind for key in keys for name, kind in key.items()}
    indexes = [
        {"IndexName": name, "KeySchema": _schema(index.key), "Projection": _projection(index.projection)}
        for name, index in table.indexes.items()
    ]
    dynamodb.create_table(
        TableName=table.name,
        KeySchema=_schema(table.key),
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
    )


def _schema(key: Any) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)]


def _projection(projection: str | tuple[str, ...]) -> dict[str, Any]:
    if isinstance(projection, str):
        return {"ProjectionType": projection}
    return {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(projection)}


def _stream_records(dynamodb: Any, streams: Any, table: str) -> list[dict[str, Any]]:
    arn = dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    found: list[dict[str, Any]] = []
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        start = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = streams.get_shard_iterator(**start)["ShardIterator"]
        found += streams.get_records(ShardIterator=iterator)["Records"]
    return found
