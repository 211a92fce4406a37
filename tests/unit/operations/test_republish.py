"""Dead letters of the publisher are published from the log: single events by key, failed batches by key range."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from operations.handlers import redrive
from orderflow.aws import event_bus
from orderflow.aws.clients import client
from orderflow.aws.order_log import OrderLog
from tests.conftest import Aws
from tests.fakes.aws import clients
from tests.fakes.aws.dynamodb import client_error
from tests.support.prepared import advance, place

LOG = OrderLog("OrderLog", client("dynamodb"))
STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/OrderLog/stream/1"


class Queue:
    """The part of SQS that a redrive uses: the messages of one queue."""

    def __init__(self, *bodies: str) -> None:
        self.left = {str(number): body for number, body in enumerate(bodies)}
        self.received = False

    def receive_message(self, **_: Any) -> Any:
        received, self.received = self.received, True
        found = [{"MessageId": number, "ReceiptHandle": number, "Body": body} for number, body in self.left.items()]
        return {} if received else {"Messages": found}

    def delete_message(self, **received: Any) -> None:
        del self.left[received["ReceiptHandle"]]


class Stream:
    """A shard with records of these keys, numbered from 1, two on a page; `None` is the update of a marker."""

    def __init__(self, *keys: tuple[str, int] | None) -> None:
        self.keys = keys
        self.trimmed = False

    def get_shard_iterator(self, **received: Any) -> Any:
        assert (received["StreamArn"], received["ShardId"], received["ShardIteratorType"]) == (STREAM, "shard-1", "AT_SEQUENCE_NUMBER")
        if self.trimmed:
            raise client_error("GetShardIterator", "TrimmedDataAccessException", "expired")
        return {"ShardIterator": received["SequenceNumber"]}

    def get_records(self, *, ShardIterator: str) -> Any:  # noqa: N803 - botocore's name
        first = int(ShardIterator)
        page = list(enumerate(self.keys, 1))[first - 1 : first + 1]
        more = {"NextShardIterator": str(first + 2)} if first + 2 <= len(self.keys) else {}
        return {"Records": [self._record(number, key) for number, key in page], **more}

    def _record(self, number: int, key: tuple[str, int] | None) -> Any:
        order_id, version = key or ("ord_1", 1)
        keys = {"order_id": {"S": order_id}, "version": {"N": str(version)}}
        return {"eventName": "INSERT" if key else "MODIFY", "dynamodb": {"Keys": keys, "SequenceNumber": str(number)}}


def parked(order_id: str, version: int) -> str:
    return json.dumps({"key": {"order_id": {"S": order_id}, "version": {"N": str(version)}}, "error": "ValueError"})


def failed_batch(start: int, end: int) -> str:
    key_range = {
        "shardId": "shard-1",
        "startSequenceNumber": str(start),
        "endSequenceNumber": str(end),
        "batchSize": 9,
        "streamArn": STREAM,
    }
    return json.dumps({"requestContext": {"condition": "RetryAttemptsExhausted"}, "version": "1.0", "DDBStreamBatchInfo": key_range})


@pytest.fixture
def run(aws: Aws, context: Any) -> Callable[..., tuple[Any, list[str], list[str]]]:
    """Redrive these dead letters; return the answer, the ids of the events on the stream, and the remaining messages."""
    place(LOG, "ord_1")
    advance(LOG, "ord_1", "inventory.handlers.reserve_stock", "fraud.handlers.screen_order")
    place(LOG, "ord_2")

    def move(*bodies: str, stream: Stream | None = None) -> tuple[Any, list[str], list[str]]:
        queue = Queue(*bodies)
        clients.lend(dynamodb=aws.dynamodb, events=aws.events, kinesis=aws.kinesis, sqs=queue, dynamodbstreams=stream or Stream())
        answer = redrive.handler({"queue": "publish"}, context)
        return answer, [detail["event_id"] for detail in aws.kinesis.details], list(queue.left.values())

    return move


def test_parked_event_is_published_from_the_log(run: Callable[..., Any], aws: Aws) -> None:
    answer, published, left = run(parked("ord_1", 2), parked("ord_2", 1))

    assert (answer, published, left) == ({"queue": "publish", "moved": 2, "failed": 0}, ["ord_1:2", "ord_2:1"], [])
    assert [(entry["Source"], entry["DetailType"]) for entry in aws.events.entries] == [("orders", "OrderPlaced")]


def test_failed_batch_publishes_the_events_of_its_key_range(run: Callable[..., Any]) -> None:
    stream = Stream(("ord_2", 1), ("ord_1", 1), None, ("ord_1", 2), ("ord_1", 3))

    _, published, left = run(failed_batch(2, 4), stream=stream)

    assert (published, left) == (["ord_1:1", "ord_1:2"], [])


@pytest.mark.parametrize(
    "body", [parked("ord_1", 9), failed_batch(1, 7), "{}", "nonsense", '{"key": {"order_id": {"S": "ord_1"}, "version": {"N": "x"}}}']
)
def test_unpublishable_message_stays_and_others_are_published(run: Callable[..., Any], body: str) -> None:
    answer, published, left = run(body, parked("ord_1", 1), stream=Stream(("ord_2", 1)))

    assert (answer["moved"], answer["failed"], left) == (1, 1, [body])
    assert published == ["ord_1:1"]


def test_failed_batch_with_expired_records_stays(run: Callable[..., Any]) -> None:
    stream = Stream(("ord_1", 1))
    stream.trimmed = True

    assert run(failed_batch(1, 1), stream=stream) == ({"queue": "publish", "moved": 0, "failed": 1}, [], [failed_batch(1, 1)])


def test_message_refused_by_the_bus_stays(run: Callable[..., Any], aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_bus.time, "sleep", lambda _: None)
    aws.events.refuse = {*range(event_bus.ATTEMPTS)}

    assert run(parked("ord_1", 1)) == ({"queue": "publish", "moved": 0, "failed": 1}, [], [parked("ord_1", 1)])
