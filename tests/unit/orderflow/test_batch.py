"""Batches: each message is processed separately, and only failed messages are retried."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from orderflow.aws.batch import (
    FailedRecordQueue,
    PartialFailures,
    process_messages,
    process_order_versions,
    process_orders,
    process_orders_together,
)
from orderflow.aws.observability import instrumented, logger
from tests.conftest import ENVIRONMENT, Aws


def message(number: int, body: Any) -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    return {"messageId": f"message-{number}", "body": text, "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"}


def delivered(order_id: str) -> dict[str, Any]:
    return {"detail-type": "OrderConfirmed", "detail": {"order_id": order_id, "correlation_id": "c", "event_id": f"{order_id}:5"}}


def test_malformed_message_fails_alone() -> None:
    seen: list[str] = []
    batch = {"Records": [message(1, delivered("ord_1")), message(2, "{"), message(3, {"detail": {}}), message(4, delivered("ord_2"))]}

    failed = process_orders(batch, seen.append)

    assert seen == ["ord_1", "ord_2"]
    assert failed == {"batchItemFailures": [{"itemIdentifier": "message-2"}, {"itemIdentifier": "message-3"}]}


def test_log_lines_have_the_ids_of_the_event(logged: Callable[[], list[dict[str, Any]]]) -> None:
    process_orders({"Records": [message(1, delivered("ord_1"))]}, lambda _: logger.info("worked"))

    (line,) = logged()

    assert (line["order_id"], line["correlation_id"], line["event_id"]) == ("ord_1", "c", "ord_1:5")


def test_batch_of_orders_fails_message_by_message(logged: Callable[[], list[dict[str, Any]]]) -> None:
    seen: list[list[str]] = []
    bodies = [delivered("ord_1"), "{", delivered("ord_2"), delivered("ord_1"), delivered("ord_3")]

    def work(order_ids: list[str]) -> dict[str, Exception]:
        seen.append(order_ids)
        return {"ord_1": RuntimeError("not now")}

    failed = process_orders_together({"Records": [message(number, body) for number, body in enumerate(bodies)]}, work)

    assert seen == [["ord_1", "ord_2", "ord_3"]]
    assert failed == {"batchItemFailures": [{"itemIdentifier": f"message-{number}"} for number in (1, 0, 3)]}
    assert [(line["message"], line.get("order_id"), line.get("correlation_id")) for line in logged()] == [
        ("message_failed", None, None),
        ("message_failed", "ord_1", "c"),
    ]


def test_batch_of_malformed_messages_calls_no_work() -> None:
    def work(_: list[str]) -> dict[str, Exception]:
        raise AssertionError

    assert process_orders_together({"Records": [message(1, "{")]}, work) == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}


class TestStreams:
    FAILED_RECORDS = FailedRecordQueue(ENVIRONMENT["RETRY_QUEUE_URL"])

    def event(self, order_id: str, version: int = 5) -> dict[str, Any]:
        return {"order_id": order_id, "correlation_id": "c", "event_id": f"{order_id}:{version}", "order_version": version}

    def kinesis(self, document: Any) -> dict[str, Any]:
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        return {"eventID": "shard:1", "eventSource": "aws:kinesis", "kinesis": {"data": base64.b64encode(text).decode()}}

    def table(self, document: Any) -> dict[str, Any]:
        return {"eventSource": "aws:dynamodb", "dynamodb": {"NewImage": {"event": {"S": json.dumps(document)}}}}

    def parked(self, aws: Aws) -> list[Any]:
        return aws.sqs.sent.get(ENVIRONMENT["RETRY_QUEUE_URL"], [])

    def test_stream_record_is_processed_like_a_bus_message(self, aws: Aws) -> None:
        seen: list[Any] = []
        batch = {"Records": [self.kinesis(self.event("ord_1")), self.table(self.event("ord_2"))]}

        assert process_messages(batch, lambda body: seen.append(json.loads(body)), self.FAILED_RECORDS) == {"batchItemFailures": []}

        assert seen == [{"detail": self.event("ord_1")}, {"detail": self.event("ord_2")}]
        assert self.parked(aws) == []

    def test_failed_records_are_retried_from_the_queue_alone(self, aws: Aws) -> None:
        seen: list[str] = []

        def work(order_id: str) -> None:
            if order_id == "ord_2":
                raise RuntimeError
            seen.append(order_id)

        batch = {"Records": [self.kinesis(self.event(f"ord_{number}")) for number in (1, 2, 3)]}
        assert process_orders(batch, work, self.FAILED_RECORDS) == {"batchItemFailures": []}

        assert (seen, self.parked(aws)) == (["ord_1", "ord_3"], [{"detail": self.event("ord_2")}])
        again = {"Records": [message(1, self.parked(aws)[0])]}
        assert process_orders(again, seen.append, self.FAILED_RECORDS) == {"batchItemFailures": []}
        assert seen == ["ord_1", "ord_3", "ord_2"]

    def test_several_events_of_an_order_are_processed_once(self, aws: Aws) -> None:
        seen: list[tuple[str, int | None]] = []
        versions = [("ord_1", 3), ("ord_2", 1), ("ord_1", 5), ("ord_1", 4)]

        process_order_versions(
            {"Records": [self.kinesis(self.event(*one)) for one in versions]}, lambda *given: seen.append(given), self.FAILED_RECORDS
        )

        assert sorted(seen) == [("ord_1", 5), ("ord_2", 1)]

    @pytest.mark.parametrize("poison", [b"", b"\xff", b"{", b"[]", b'{"order_id": 1}'])
    def test_malformed_record_goes_to_the_queue_alone(self, aws: Aws, poison: bytes) -> None:
        seen: list[str] = []

        process_orders({"Records": [self.kinesis(poison), self.kinesis(self.event("ord_1"))]}, seen.append, self.FAILED_RECORDS)

        assert (seen, len(self.parked(aws))) == (["ord_1"], 1)
        failed = process_orders({"Records": [message(1, self.parked(aws)[0])]}, seen.append, self.FAILED_RECORDS)
        assert failed == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}

    def test_log_line_of_a_malformed_record_holds_no_data(self, aws: Aws) -> None:
        record = {"eventID": "1", "eventSourceARN": "arn", "dynamodb": {"NewImage": {"payment_token": {"S": "tok_secret"}}}}

        process_orders({"Records": [record]}, lambda _: None, self.FAILED_RECORDS)

        assert self.parked(aws) == [{"no_event": "1", "of": "arn"}]

    def test_batch_is_retried_when_the_queue_fails(self, aws: Aws) -> None:
        def refuse(_name: str, _given: Any) -> None:
            raise ConnectionError

        def work(_: str) -> None:
            raise RuntimeError

        aws.sqs.before = refuse
        with pytest.raises(ConnectionError):
            process_orders({"Records": [self.kinesis(self.event("ord_1"))]}, work, self.FAILED_RECORDS)

    @pytest.mark.parametrize(("reported", "lines"), [(True, ["worked", "worked"]), (False, ["done"])])
    def test_batch_logs_a_line_only_if_its_orders_log_none(
        self, reported: bool, lines: list[str], context: Any, logged: Callable[[], list[dict[str, Any]]]
    ) -> None:
        @instrumented
        def consumer(event: dict[str, Any], _context: Any) -> PartialFailures:
            return process_orders(event, lambda _: logger.info("worked") if reported else None, self.FAILED_RECORDS)

        documents = [self.event("ord_1", 4), self.event("ord_2"), self.event("ord_1", 5)]
        consumer({"Records": [self.kinesis(document) for document in documents]}, context)

        assert [line["message"] for line in logged()] == lines
