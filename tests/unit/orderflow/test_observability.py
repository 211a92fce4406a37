"""Fields of log lines, and their isolation between invocations and messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import orderflow
from orderflow.aws.batch import PartialFailures, process_messages
from orderflow.aws.observability import annotate, instrumented, logger, measure
from orderflow.domain import metrics

type Lines = Callable[[], list[dict[str, Any]]]
LAYER = Path(orderflow.__file__).parent.parent
STEP = {"order_id": "ord_1", "correlation_id": "request-1", "execution": "arn:1"}


@instrumented
def step(event: dict[str, Any], _context: Any) -> dict[str, str]:
    logger.info("started")
    if event.get("fails"):
        raise RuntimeError(event["fails"])
    annotate(event_id=event.get("found"))
    logger.info("identified")
    return {"outcome": "reserved"}


def test_every_line_names_order_and_request(context: Any, logged: Lines) -> None:
    step({**STEP, "event_id": "ord_1:1", "found": "ord_1:2"}, context)
    assert [line["message"] for line in logged()] == ["started", "identified", "done"]
    assert {(line["correlation_id"], line["order_id"]) for line in logged()} == {("request-1", "ord_1")}
    assert [line.get("event_id") for line in logged()] == ["ord_1:1", "ord_1:2", "ord_1:2"]
    assert logged()[-1]["outcome"] == "reserved"


def test_ids_of_an_http_request_come_from_path_and_headers(context: Any, logged: Lines) -> None:
    event = {
        "pathParameters": {"order_id": "ord_" + "a" * 26},
        "headers": {"x-correlation-id": "client-1"},
        "requestContext": {"requestId": "gateway-1"},
    }
    step(event, context)
    assert {(line["correlation_id"], line["order_id"]) for line in logged()} == {("client-1", "ord_" + "a" * 26)}


@pytest.mark.parametrize(
    "text", ["ord_9", "ann@example.com", "\x1b[2J", "ord_" + "a" * 26 + "\n", "../x", "ord_" + "A" * 26, "", "x" * 5000]
)
def test_path_text_that_is_no_order_id_is_not_logged(context: Any, logged: Lines, text: str) -> None:
    step({"pathParameters": {"order_id": text}, "headers": None, "requestContext": {"requestId": "gateway-1"}}, context)
    assert not any("order_id" in line for line in logged())


@pytest.mark.parametrize("text", ["\x1b[2J", "ann@example.com", "a\nb", "\u202e", "x" * 129, "1 High St"])
def test_id_of_another_form_is_logged_as_invalid(context: Any, logged: Lines, text: str) -> None:
    step({**STEP, "order_id": text, "correlation_id": text, "found": text}, context)
    last = logged()[-1]
    assert (last["order_id"], last["correlation_id"], last["event_id"]) == ("invalid", "invalid", "invalid")


def test_keys_do_not_outlive_their_invocation(context: Any, logged: Lines) -> None:
    step({**STEP, "event_id": "ord_1:2"}, context)
    step({"order_id": "ord_2"}, context)
    later = logged()[3:]
    assert {line["order_id"] for line in later} == {"ord_2"}
    assert not any("correlation_id" in line or "event_id" in line for line in later)


def test_keys_of_a_failed_message_are_cleared(context: Any, logged: Lines) -> None:
    with pytest.raises(RuntimeError):
        step({**STEP, "fails": "yes"}, context)
    step({}, context)
    assert not any("order_id" in line or "correlation_id" in line for line in logged() if line["message"] == "done")


def test_failure_is_logged_once_with_its_ids_and_raised(context: Any, logged: Lines) -> None:
    with pytest.raises(RuntimeError, match="no stock table"):
        step({**STEP, "fails": "no stock table"}, context)
    (failed,) = [line for line in logged() if line["level"] == "ERROR"]
    assert (failed["message"], failed["order_id"], failed["exception_name"]) == ("invocation_failed", "ord_1", "RuntimeError")


def test_neither_event_nor_answer_is_logged(context: Any, logged: Lines) -> None:
    step({**STEP, "payment_token": "tok_secret", "street": "1 High St"}, context)
    assert "tok_secret" not in json.dumps(logged())
    assert "High St" not in json.dumps(logged())


def test_metrics_are_written_once_and_only_where_there_are_some(context: Any, capsys: pytest.CaptureFixture[str]) -> None:
    @instrumented
    def counted(event: dict[str, Any], _context: Any) -> None:
        if event["counts"]:
            measure(metrics.ORDERS_PLACED, 1)

    counted({"counts": True}, context)
    counted({"counts": False}, context)
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [line["OrdersPlaced"] for line in written] == [1]


@pytest.mark.parametrize(
    ("wanted", "of_lambda", "levels"),
    [("WARNING", "INFO", ["WARNING"]), ("INFO", "INFO", ["INFO", "WARNING"]), ("DEBUG", "DEBUG", ["DEBUG", "INFO", "WARNING"])],
)
def test_log_level_is_the_configured_one(wanted: str, of_lambda: str, levels: list[str]) -> None:
    program = "from orderflow.aws.observability import logger as l; l.debug('a'); l.info('b'); l.warning('c')"
    environment = os.environ | {"LOG_LEVEL": wanted, "AWS_LAMBDA_LOG_LEVEL": of_lambda, "PYTHONPATH": str(LAYER)}
    done = subprocess.run([sys.executable, "-Werror", "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert [json.loads(line)["level"] for line in done.stdout.splitlines()] == levels


class TestLength:
    """CloudWatch bills log lines by the byte."""

    @pytest.fixture
    def trace(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
        root = "Root=1-6b017a95-b3a90b35c44edb8c38275eaa;Parent=53995c3f42cd8ad8"
        return lambda sampled: monkeypatch.setenv("_X_AMZN_TRACE_ID", f"{root};Sampled={sampled}")

    def test_line_has_these_fields_and_no_more(self, context: Any, logged: Lines, trace: Callable[[str], None]) -> None:
        trace("0")
        step({}, context)  # a process logs its cold start on the first invocation
        step({**STEP, "event_id": "ord_1:1"}, context)
        line = logged()[-1]
        own = {"level", "message", "timestamp", "service", "function_request_id"}
        assert set(line) == own | {"correlation_id", "order_id", "event_id", "outcome"}

    def test_time_is_in_the_format_that_lambda_reads(self, context: Any, logged: Lines) -> None:
        step(STEP, context)
        assert datetime.fromisoformat(logged()[-1]["timestamp"]).utcoffset() == timedelta(0)
        assert "T" in logged()[-1]["timestamp"]

    def test_trace_id_is_logged_only_for_sampled_traces(self, context: Any, logged: Lines, trace: Callable[[str], None]) -> None:
        trace("1")
        step(STEP, context)
        assert {line["xray_trace_id"] for line in logged()} == {"1-6b017a95-b3a90b35c44edb8c38275eaa"}
        trace("0")
        step(STEP, context)
        assert "xray_trace_id" not in logged()[-1]

    def test_cold_start_is_logged(self, context: Any, logged: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("aws_lambda_powertools.logging.logger.is_cold_start", True)
        step(STEP, context)
        step(STEP, context)
        assert [line.get("cold_start") for line in logged() if line["message"] == "done"] == [True, None]


class TestBatches:
    def batch(self, *bodies: str) -> dict[str, Any]:
        return {"Records": [self.message(number, body) for number, body in enumerate(bodies)]}

    def message(self, number: int, body: str) -> dict[str, Any]:
        attributes = {"ApproximateReceiveCount": "1"}
        return {"messageId": f"m{number}", "body": body, "attributes": attributes, "eventSource": "aws:sqs"}

    def test_one_bad_message_fails_alone(self, logged: Lines) -> None:
        done: list[str] = []

        def work(body: str) -> None:
            if body == "poison":
                raise ValueError(body)
            done.append(body)

        answer = process_messages(self.batch("a", "poison", "b"), work)
        assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
        assert done == ["a", "b"]
        assert [line["message_id"] for line in logged() if line["level"] == "ERROR"] == ["m1"]

    def test_all_failed_messages_are_reported_without_error(self) -> None:
        answer = process_messages(self.batch("1", "2"), lambda body: [][int(body)])
        assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["m0", "m1"]

    def test_two_batches_of_a_warm_process_share_nothing(self) -> None:
        process_messages(self.batch("1"), lambda body: [][int(body)])
        assert process_messages(self.batch("2"), lambda _: None) == {"batchItemFailures": []}

    def test_keys_of_one_message_are_not_on_the_next_ones_lines(self, logged: Lines) -> None:
        def work(body: str) -> None:
            if body == "first":
                annotate(order_id="ord_1", event_id="ord_1:1", correlation_id="request-1")
            logger.info("processed")

        process_messages(self.batch("first", "second"), work)
        first, second = logged()
        assert (first["order_id"], first["event_id"], first["correlation_id"]) == ("ord_1", "ord_1:1", "request-1")
        assert not {"order_id", "event_id", "correlation_id"} & set(second)
        assert second["message_id"] == "m1"

    @pytest.mark.parametrize(
        ("bodies", "lines"),
        [
            (["reported"], ["processed"]),
            (["reported", "reported"], ["processed", "processed"]),
            (["silent"], ["done"]),
            (["reported", "silent"], ["processed", "done"]),
            (["twice", "silent"], ["processed", "processed", "done"]),
            (["reported", "poison"], ["processed", "message_failed", "done"]),
        ],
    )
    def test_batch_logs_a_line_unless_every_message_does(self, bodies: list[str], lines: list[str], context: Any, logged: Lines) -> None:
        def work(body: str) -> None:
            for _ in range({"reported": 1, "twice": 2}.get(body, 0)):
                logger.info("processed")
            if body == "poison":
                raise ValueError(body)

        @instrumented
        def consumer(event: dict[str, Any], _context: Any) -> PartialFailures:
            return process_messages(event, work)

        consumer(self.batch(*bodies), context)
        assert [line["message"] for line in logged()] == lines
        consumer(self.batch("silent"), context)
        assert logged()[-1]["message"] == "done"
