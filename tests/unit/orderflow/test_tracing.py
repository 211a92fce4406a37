"""Traces follow an order over stream, bus and queues: the segments that the X-Ray daemon receives by UDP."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from orderflow.aws import batch, tracing
from orderflow.aws.clients import client
from orderflow.aws.event_bus import EventBus
from orderflow.aws.observability import annotate, instrumented
from orderflow.aws.order_log import OrderLog
from orderflow.domain import events
from tests.conftest import Aws
from tests.support.prepared import an_order
from tests.support.xray import Segments, xray_daemon

ROOT = "1-581cf771-a006649127e371903a2de979"
PARENT = "70de5b6f19ff9a0a"
HEADER = f"Root={ROOT};Parent={PARENT};Sampled=1"
type Lines = Callable[[], list[dict[str, Any]]]

TRACE_ID = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}")


@pytest.fixture
def segments(monkeypatch: pytest.MonkeyPatch) -> Iterator[Segments]:
    """A function that returns the segments that the daemon has received."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "order-pipeline-some-function")
    with xray_daemon(monkeypatch) as received:
        yield received


def sampled(monkeypatch: pytest.MonkeyPatch, header: str = f"{HEADER};Lineage=1:a:0") -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", header)


def message(event: events.Event, **more: str) -> dict[str, Any]:
    body = json.dumps({"detail-type": event.type, **more, "detail": json.loads(events.encode(event))}, separators=(",", ":"))
    return {"messageId": "1", "receiptHandle": "r", "body": body, "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"}


def appended(aws: Aws) -> events.Event:
    """Return the first event of an order that is placed now."""
    an_order(OrderLog("OrderLog", aws.dynamodb.client))
    return events.decode(aws.dynamodb.items("OrderLog")[0]["event"]["S"])


class TestHeader:
    def test_event_of_a_sampled_request_has_its_header(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        sampled(monkeypatch)
        event = appended(aws)
        assert event.trace == HEADER
        assert events.decode(events.encode(event)).trace == HEADER

    @pytest.mark.parametrize("header", ["", HEADER.replace("Sampled=1", "Sampled=0"), "Sampled=1"])
    def test_event_outside_a_sampled_trace_has_no_header(self, aws: Aws, monkeypatch: pytest.MonkeyPatch, header: str) -> None:
        sampled(monkeypatch, header)
        assert b"trace" not in events.encode(appended(aws))

    @pytest.mark.parametrize(
        ("root", "parent"),
        [
            ("1-581cf771-a006649127e371903a2de979" + "0" * 500, PARENT),
            ("of-a-client", PARENT),
            (ROOT.upper(), PARENT),
            ('1-581cf771-a006649127e371903a2de97"', PARENT),
            (ROOT, "70de5b6f19ff9a0a0"),
            (ROOT, "of a client"),
            (f"{ROOT}\n", PARENT),
        ],
    )
    def test_header_of_another_form_is_left_out(self, aws: Aws, monkeypatch: pytest.MonkeyPatch, root: str, parent: str) -> None:
        """A client can send the header, and EventBridge refuses a trace header of more than 500 characters with its whole call."""
        sampled(monkeypatch, f"Root={root};Parent={parent};Sampled=1")
        assert tracing.header() is None
        assert b"trace" not in events.encode(appended(aws))

    def test_stored_header_of_another_form_is_not_published(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        sampled(monkeypatch)
        event = appended(aws)
        bus = EventBus("orders", client("events"))
        assert bus.entry(event, events.encode(event).decode()).get("TraceHeader") == HEADER
        stored = replace(event, trace=f"Root={'x' * 600};Parent={PARENT};Sampled=1")
        assert "TraceHeader" not in bus.entry(stored, events.encode(stored).decode())

    def test_replay_from_the_archive_continues_no_trace(self, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
        sampled(monkeypatch)
        event = appended(aws)
        assert tracing.header_in(message(event)["body"]) == HEADER
        assert tracing.header_in(message(event, **{"replay-name": "r"})["body"]) is None

    def test_text_of_a_customer_is_no_header(self) -> None:
        assert tracing.header_in(json.dumps({"name": f'"trace":"{HEADER}"'})) is None


class TestMessages:
    def test_message_adds_a_segment_to_the_trace_of_its_event(self, aws: Aws, monkeypatch: pytest.MonkeyPatch, segments: Segments) -> None:
        sampled(monkeypatch)
        event = appended(aws)
        monkeypatch.delenv("_X_AMZN_TRACE_ID")
        followed: list[str | None] = []

        def process(_: str) -> None:
            annotate(order_id=event.order_id)
            followed.append(tracing.header())

        assert batch.process_messages({"Records": [message(event)]}, process) == {"batchItemFailures": []}
        [segment] = segments()
        assert (segment["name"], segment["trace_id"], segment["parent_id"]) == ("order-pipeline-some-function", ROOT, "70de5b6f19ff9a0a")
        assert segment["annotations"] == {"order_id": event.order_id}
        assert segment["start_time"] <= segment["end_time"]
        assert "fault" not in segment
        # Events appended for the message have its segment as parent.
        assert followed == [f"Root={ROOT};Parent={segment['id']};Sampled=1"]
        assert tracing.header() is None

    def test_failed_message_is_a_fault_in_its_trace(self, aws: Aws, monkeypatch: pytest.MonkeyPatch, segments: Segments) -> None:
        sampled(monkeypatch)
        event = appended(aws)
        monkeypatch.delenv("_X_AMZN_TRACE_ID")
        batch.process_messages({"Records": [message(event)]}, failing)
        [segment] = segments()
        assert (segment["trace_id"], segment["fault"]) == (ROOT, True)

    def test_failed_message_without_a_sampled_trace_is_sent(self, aws: Aws, segments: Segments) -> None:
        batch.process_messages({"Records": [message(appended(aws))]}, failing)
        [segment] = segments()
        assert segment["fault"] is True
        assert segment["trace_id"].startswith("1-")
        assert "parent_id" not in segment

    def test_message_without_a_trace_sends_nothing(self, aws: Aws, segments: Segments) -> None:
        batch.process_messages({"Records": [message(appended(aws))]}, lambda _: None)
        assert segments() == []


class TestInvocations:
    @pytest.mark.parametrize("header", ["", f"Root={ROOT};Parent=70de5b6f19ff9a0a;Sampled=0"])
    def test_failed_invocation_that_is_not_sampled_is_sent(
        self, context: Any, monkeypatch: pytest.MonkeyPatch, segments: Segments, header: str
    ) -> None:
        sampled(monkeypatch, header)
        with pytest.raises(ZeroDivisionError):
            instrumented(lambda _event, _context: 1 / 0)({"order_id": "ord_1"}, context)
        [segment] = segments()
        assert segment["fault"] is True
        assert segment["annotations"]["order_id"] == "ord_1"
        assert (segment["trace_id"] == ROOT) is bool(header)

    def test_failed_invocation_with_a_malformed_header_begins_a_trace(
        self, context: Any, monkeypatch: pytest.MonkeyPatch, segments: Segments, logged: Lines
    ) -> None:
        sampled(monkeypatch, f"Root=of a client;Parent={PARENT};Sampled=1")
        with pytest.raises(ZeroDivisionError):
            instrumented(lambda _event, _context: 1 / 0)({"order_id": "ord_1"}, context)
        [segment] = segments()
        assert TRACE_ID.fullmatch(segment["trace_id"])
        assert "parent_id" not in segment
        assert not any("xray_trace_id" in line for line in logged())

    def test_server_error_is_traced_as_a_failure(self, context: Any, segments: Segments) -> None:
        instrumented(lambda _event, _context: {"statusCode": 500})({}, context)
        instrumented(lambda _event, _context: {"statusCode": 404})({}, context)
        assert [segment["fault"] for segment in segments()] == [True]

    def test_failure_in_a_sampled_trace_is_left_to_lambda(self, context: Any, monkeypatch: pytest.MonkeyPatch, segments: Segments) -> None:
        sampled(monkeypatch)
        with pytest.raises(ZeroDivisionError):
            instrumented(lambda _event, _context: 1 / 0)({}, context)
        assert segments() == []

    @pytest.mark.parametrize("address", ["", "127.0.0.1", "tcp:127.0.0.1:1 udp:127.0.0.1:1"])
    def test_missing_daemon_fails_nothing(self, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
        monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", address)
        tracing.record(HEADER, 0.0)


def failing(_: str) -> None:
    raise ConnectionError
