"""Redrive of failed stream batches: their events go to the consumer's queue one by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from operations.handlers import redrive
from tests.fakes.aws import clients
from tests.fakes.aws.dynamodb import client_error

KINESIS = "arn:aws:kinesis:us-east-1:000000000000:stream/events"
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/OrderLog/stream/1"
LEDGER = "https://sqs.invalid/ledger"
VIEW = "https://sqs.invalid/order-view"


class Queues:
    """The part of SQS that a redrive uses: dead letters and sent messages."""

    def __init__(self, *bodies: str) -> None:
        self.left = list(bodies)
        self.received = False
        self.sent: dict[str, list[Any]] = {}
        self.refuse = False
        self.bodies = ""

    def receive_message(self, **_: Any) -> Any:
        received, self.received = self.received, True
        return {} if received else {"Messages": [{"MessageId": body, "ReceiptHandle": body, "Body": body} for body in self.left]}

    def delete_message(self, **received: Any) -> None:
        self.left.remove(received["ReceiptHandle"])

    def send_message(self, **received: Any) -> None:
        if self.refuse:
            raise client_error("SendMessage", "ThrottlingException", "later")
        self.bodies += received["MessageBody"]
        self.sent.setdefault(received["QueueUrl"], []).append(json.loads(received["MessageBody"]))


class Shard:
    """A shard with these records, numbered from 1, two on a page."""

    def __init__(self, *records: Any) -> None:
        self.records = records
        self.trimmed = False
        self.oldest = 1

    def get_shard_iterator(self, **received: Any) -> Any:
        assert (received.get("StreamARN") == KINESIS) != (received.get("StreamArn") == TABLE)
        assert (received["ShardId"], received["ShardIteratorType"]) == ("shard-1", "AT_SEQUENCE_NUMBER")
        if self.trimmed:
            raise client_error("GetShardIterator", "TrimmedDataAccessException", "expired")
        first = int(received.get("StartingSequenceNumber") or received["SequenceNumber"])
        return {"ShardIterator": str(max(first, self.oldest))}

    def get_records(self, *, ShardIterator: str) -> Any:  # noqa: N803 - botocore's name
        first = int(ShardIterator)
        page = self.records[first - 1 : first + 1]
        more = {"NextShardIterator": str(first + 2)} if first + 2 <= len(self.records) else {}
        return {"Records": list(page), **more}


def event(kind: str, order_id: str = "ord_1") -> dict[str, str]:
    # SQS refuses both characters of this name.
    return {"event_id": f"{order_id}:1", "type": kind, "order_id": order_id, "name": "\uffff\ufffe"}


def of_kinesis(*events: dict[str, str]) -> Shard:
    return Shard(*({"SequenceNumber": str(number), "Data": json.dumps(one).encode()} for number, one in enumerate(events, 1)))


def of_table(*events: dict[str, str] | None) -> Shard:
    """Return a shard of the order log's stream; None is the update of a marker."""
    records = [
        {
            "eventName": "INSERT" if one else "MODIFY",
            "dynamodb": {"SequenceNumber": str(number), "NewImage": {"event": {"S": json.dumps(one, ensure_ascii=False)}}},
        }
        for number, one in enumerate(events, 1)
    ]
    return Shard(*records)


def failed_batch(function: str, start: int, end: int, *, source: str = KINESIS) -> str:
    key_range = {
        "shardId": "shard-1",
        "startSequenceNumber": str(start),
        "endSequenceNumber": str(end),
        "batchSize": 9,
        "streamArn": source,
    }
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{function}"
    kind = "KinesisBatchInfo" if source == KINESIS else "DDBStreamBatchInfo"
    return json.dumps({"requestContext": {"functionArn": arn, "condition": "RetryAttemptsExhausted"}, "version": "1.0", kind: key_range})


type Run = Callable[..., tuple[Any, Queues]]


@pytest.fixture
def run(context: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that redrives dead letters and returns the answer and the queues."""

    def move(
        *bodies: str, queue: str = "ledger", kinesis: Shard | None = None, table: Shard | None = None, refuse: bool = False
    ) -> tuple[Any, Queues]:
        queues = Queues(*bodies)
        queues.refuse = refuse
        clients.lend(sqs=queues, kinesis=kinesis or Shard(), dynamodbstreams=table or Shard())
        return redrive.handler({"queue": queue}, context), queues

    return move


def test_failed_batch_events_go_to_the_consumers_queue(run: Run) -> None:
    shard = of_kinesis(
        *(event("PaymentCaptured", f"ord_{n}") for n in range(1, 4)), event("OrderPlaced"), event("PaymentAuthorized", "ord_5")
    )

    answer, queues = run(failed_batch("ledger-post", 2, 5), kinesis=shard)

    assert answer == {"queue": "ledger", "moved": 1, "failed": 0}
    assert [message["detail"]["order_id"] for message in queues.sent[LEDGER]] == ["ord_2", "ord_3", "ord_5"]
    assert queues.left == []


def test_failed_batch_of_the_order_log_stream_is_redriven(run: Run) -> None:
    answer, queues = run(
        failed_batch("orders-project", 1, 3, source=TABLE),
        queue="order-view",
        table=of_table(event("OrderPlaced"), None, event("OrderScreened")),
    )

    assert queues.bodies.isascii()
    assert answer["moved"] == 1
    assert queues.sent == {VIEW: [{"detail": event("OrderPlaced")}]}


def test_batch_beyond_the_streams_end_stays_and_others_are_moved(run: Run) -> None:
    body = failed_batch("ledger-post", 1, 9)
    answer, queues = run(body, failed_batch("ledger-post", 1, 1), kinesis=of_kinesis(event("PaymentCaptured")))

    assert (answer["moved"], answer["failed"], queues.left) == (1, 1, [body])
    assert len(queues.sent[LEDGER]) == 1


@pytest.mark.parametrize("body", [{"detail": {"type": "PaymentCaptured"}}, {"requestContext": {"functionArn": "ledger-post"}}, "text"])
def test_dead_letter_of_rule_or_queue_is_moved_unchanged(run: Run, body: Any) -> None:
    answer, queues = run(json.dumps(body), failed_batch("ledger-post", 1, 1), kinesis=of_kinesis(event("PaymentCaptured")))

    assert (answer["moved"], answer["failed"]) == (2, 0)
    assert queues.sent[LEDGER] == [body, {"detail": event("PaymentCaptured")}]


def test_batch_with_expired_records_stays(run: Run) -> None:
    shard = of_kinesis(event("PaymentCaptured"))
    shard.trimmed = True

    answer, queues = run(failed_batch("ledger-post", 1, 1), kinesis=shard)

    assert (answer["failed"], len(queues.left)) == (1, 1)


@pytest.mark.parametrize("oldest", [2, 4])
def test_batch_whose_first_records_expired_stays(run: Run, oldest: int) -> None:
    shard = of_kinesis(*(event("PaymentCaptured", f"ord_{number}") for number in range(1, 6)))
    shard.oldest = oldest
    body = failed_batch("ledger-post", 1, 3)

    answer, queues = run(body, kinesis=shard)

    assert (answer["failed"], queues.left, queues.sent) == (1, [body], {})


def test_batch_refused_by_the_queue_stays(run: Run) -> None:
    answer, queues = run(failed_batch("ledger-post", 1, 1), kinesis=of_kinesis(event("PaymentCaptured")), refuse=True)

    assert (answer["failed"], len(queues.left)) == (1, 1)
