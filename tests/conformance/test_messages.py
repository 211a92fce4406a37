"""SQS, EventBridge and Kinesis: accepted messages and limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.errors import code
from tests.conformance.targets import STREAM, Target

TOO_LARGE = json.dumps({"text": "x" * 256 * 1024})


def received(target: Target, **more: Any) -> list[Any]:
    answer = target.sqs.receive_message(QueueUrl=target.queue_url, **more)
    return answer.get("Messages", [])


def entries(*details: str) -> list[dict[str, str]]:
    return [{"Source": "orders", "DetailType": "OrderPlaced", "Detail": detail} for detail in details]


def test_sent_message_is_received(target: Target) -> None:
    sent = target.sqs.send_message(QueueUrl=target.queue_url, MessageBody="{}")
    [message] = received(target)
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "{}")


def test_received_message_is_hidden_until_it_is_released(target: Target) -> None:
    target.sqs.send_message(QueueUrl=target.queue_url, MessageBody="{}")
    [message] = received(target)
    assert received(target) == []
    target.sqs.change_message_visibility(QueueUrl=target.queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    [again] = received(target, AttributeNames=["ApproximateReceiveCount"])
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


def test_deleted_message_is_not_received_again(target: Target) -> None:
    target.sqs.send_message(QueueUrl=target.queue_url, MessageBody="{}")
    [message] = received(target, VisibilityTimeout=0)
    target.sqs.delete_message(QueueUrl=target.queue_url, ReceiptHandle=message["ReceiptHandle"])
    assert received(target) == []


def test_message_that_is_not_json_is_accepted(target: Target) -> None:
    assert "MessageId" in target.sqs.send_message(QueueUrl=target.queue_url, MessageBody="plain text")


def test_visibility_timeout_over_12_hours_is_refused(target: Target) -> None:
    target.sqs.send_message(QueueUrl=target.queue_url, MessageBody="{}")
    [message] = received(target) if target.name != "fake" else [{"ReceiptHandle": "handle"}]
    request = {"QueueUrl": target.queue_url, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 43_201}
    assert code(target.sqs.change_message_visibility, **request) == "InvalidParameterValue"


def test_bus_takes_ten_entries(target: Target) -> None:
    answer = target.events.put_events(Entries=entries(*["{}"] * 10))
    assert (answer["FailedEntryCount"], len(answer["Entries"])) == (0, 10)


@pytest.mark.parametrize("details", [["{}"] * 11, [TOO_LARGE]], ids=["11 entries", "over 256 KB"])
def test_bus_refuses_batches_over_its_limits(target: Target, details: list[str]) -> None:
    assert code(target.events.put_events, Entries=entries(*details)) == "ValidationException"


def test_stream_takes_records(target: Target) -> None:
    records = [{"Data": b"{}", "PartitionKey": "o"}] * 2
    answer = target.kinesis.put_records(StreamName=STREAM, Records=records)
    assert (answer["FailedRecordCount"], len(answer["Records"])) == (0, 2)


def test_stream_refuses_more_than_500_records(target: Target) -> None:
    records = [{"Data": b"{}", "PartitionKey": "o"}] * 501
    assert code(target.kinesis.put_records, StreamName=STREAM, Records=records) in {"ValidationException", "InvalidArgumentException"}
