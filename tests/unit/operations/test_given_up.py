"""A batch that a consumer of a stream gave up on goes to the consumer's queue, event by event."""

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
    """SQS as far as a redrive needs it: the dead letters, and what is sent on."""

    def __init__(self, *bodies: str) -> None:
        self.left = list(bodies)
        self.given = False
        self.sent: dict[str, list[Any]] = {}
        self.refuse = False
        self.bodies = ""

    def receive_message(self, **_: Any) -> Any:
        given, self.given = self.given, True
        return {} if given else {"Messages": [{"MessageId": body, "ReceiptHandle": body, "Body": body} for body in self.left]}

    def delete_message(self, **given: Any) -> None:
        self.left.remove(given["ReceiptHandle"])

    def send_message(self, **given: Any) -> None:
        if self.refuse:
            raise client_error("SendMessage", "ThrottlingException", "later")
        self.bodies += given["MessageBody"]
        self.sent.setdefault(given["QueueUrl"], []).append(json.loads(given["MessageBody"]))


class Shard:
    """A shard with these records, numbered from 1, a page of two at a time."""

    def __init__(self, *records: Any) -> None:
        self.records = records
        self.trimmed = False

    def get_shard_iterator(self, **given: Any) -> Any:
        assert (given.get("StreamARN") == KINESIS) != (given.get("StreamArn") == TABLE)
        assert (given["ShardId"], given["ShardIteratorType"]) == ("shard-1", "AT_SEQUENCE_NUMBER")
        if self.trimmed:
            raise client_error("GetShardIterator", "TrimmedDataAccessException", "gone")
        return {"ShardIterator": given.get("StartingSequenceNumber") or given["SequenceNumber"]}

    def get_records(self, *, ShardIterator: str) -> Any:  # noqa: N803 - botocore's name
        first = int(ShardIterator)
        page = self.records[first - 1 : first + 1]
        more = {"NextShardIterator": str(first + 2)} if first + 2 <= len(self.records) else {}
        return {"Records": list(page), **more}


def event(kind: str, order_id: str = "ord_1") -> dict[str, str]:
    # SQS takes neither of these characters.
    return {"event_id": f"{order_id}:1", "type": kind, "order_id": order_id, "name": "\uffff\ufffe"}


def of_kinesis(*events: dict[str, str]) -> Shard:
    return Shard(*({"SequenceNumber": str(number), "Data": json.dumps(one).encode()} for number, one in enumerate(events, 1)))


def of_table(*events: dict[str, str] | None) -> Shard:
    """Return the log's own stream; none is a change of a mark."""
    records = [
        {
            "eventName": "INSERT" if one else "MODIFY",
            "dynamodb": {"SequenceNumber": str(number), "NewImage": {"event": {"S": json.dumps(one, ensure_ascii=False)}}},
        }
        for number, one in enumerate(events, 1)
    ]
    return Shard(*records)


def note(function: str, start: int, end: int, *, source: str = KINESIS) -> str:
    stretch = {"shardId": "shard-1", "startSequenceNumber": str(start), "endSequenceNumber": str(end), "batchSize": 9, "streamArn": source}
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{function}"
    kind = "KinesisBatchInfo" if source == KINESIS else "DDBStreamBatchInfo"
    return json.dumps({"requestContext": {"functionArn": arn, "condition": "RetryAttemptsExhausted"}, "version": "1.0", kind: stretch})


type Run = Callable[..., tuple[Any, Queues]]


@pytest.fixture
def run(context: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Redrive these notes; return the answer, and the queues afterwards."""

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

    answer, queues = run(note("ledger-post", 2, 5), kinesis=shard)

    assert answer == {"queue": "ledger", "moved": 1, "failed": 0}
    assert [message["detail"]["order_id"] for message in queues.sent[LEDGER]] == ["ord_2", "ord_3", "ord_5"]
    assert queues.left == []


def test_a_note_about_the_logs_own_stream(run: Run) -> None:
    answer, queues = run(
        note("orders-project", 1, 3, source=TABLE), queue="order-view", table=of_table(event("OrderPlaced"), None, event("OrderScreened"))
    )

    assert queues.bodies.isascii()
    assert answer["moved"] == 1
    assert queues.sent == {VIEW: [{"detail": event("OrderPlaced")}]}


def test_note_beyond_the_end_of_the_stream_stays_and_the_others_go_on(run: Run) -> None:
    body = note("ledger-post", 1, 9)
    answer, queues = run(body, note("ledger-post", 1, 1), kinesis=of_kinesis(event("PaymentCaptured")))

    assert (answer["moved"], answer["failed"], queues.left) == (1, 1, [body])
    assert len(queues.sent[LEDGER]) == 1


@pytest.mark.parametrize("body", [{"detail": {"type": "PaymentCaptured"}}, {"requestContext": {"functionArn": "ledger-post"}}, "text"])
def test_dead_letter_of_rule_or_queue_goes_back_to_the_queue_as_it_was(run: Run, body: Any) -> None:
    answer, queues = run(json.dumps(body), note("ledger-post", 1, 1), kinesis=of_kinesis(event("PaymentCaptured")))

    assert (answer["moved"], answer["failed"]) == (2, 0)
    assert queues.sent[LEDGER] == [body, {"detail": event("PaymentCaptured")}]


def test_a_note_that_the_stream_forgot_stays(run: Run) -> None:
    shard = of_kinesis(event("PaymentCaptured"))
    shard.trimmed = True

    answer, queues = run(note("ledger-post", 1, 1), kinesis=shard)

    assert (answer["failed"], len(queues.left)) == (1, 1)


def test_where_the_queue_does_not_take_it_the_note_stays(run: Run) -> None:
    answer, queues = run(note("ledger-post", 1, 1), kinesis=of_kinesis(event("PaymentCaptured")), refuse=True)

    assert (answer["failed"], len(queues.left)) == (1, 1)
