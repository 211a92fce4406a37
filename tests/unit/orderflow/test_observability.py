"""What a line of the log carries, and what never gets from one invocation into the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools.metrics import MetricUnit

from orderflow.batch import each_record
from orderflow.observability import identify, logger, metrics, observed

type Lines = Callable[[], list[dict[str, Any]]]
STEP = {"order_id": "ord_1", "correlation_id": "request-1", "execution": "arn:1"}


@observed
def step(event: dict[str, Any], _context: Any) -> dict[str, str]:
    logger.info("at work")
    if event.get("fails"):
        raise RuntimeError(event["fails"])
    identify(event_id=event.get("found"))
    logger.info("knows the event")
    return {"outcome": "reserved"}


def test_every_line_names_order_and_request(context: Any, logged: Lines) -> None:
    step({**STEP, "event_id": "ord_1:1", "found": "ord_1:2"}, context)
    assert [line["message"] for line in logged()] == ["at work", "knows the event", "done"]
    assert {(line["correlation_id"], line["order_id"]) for line in logged()} == {("request-1", "ord_1")}
    assert [line.get("event_id") for line in logged()] == ["ord_1:1", "ord_1:2", "ord_1:2"]
    assert logged()[-1]["outcome"] == "reserved"


def test_an_http_request_brings_them_in_its_path_and_headers(context: Any, logged: Lines) -> None:
    event = {
        "pathParameters": {"order_id": "ord_9"},
        "headers": {"x-correlation-id": "client-1"},
        "requestContext": {"requestId": "gateway-1"},
    }
    step(event, context)
    assert {(line["correlation_id"], line["order_id"]) for line in logged()} == {("client-1", "ord_9")}


def test_keys_do_not_outlive_their_invocation(context: Any, logged: Lines) -> None:
    step({**STEP, "event_id": "ord_1:2"}, context)
    step({"order_id": "ord_2"}, context)
    later = logged()[3:]
    assert {line["order_id"] for line in later} == {"ord_2"}
    assert not any("correlation_id" in line or "event_id" in line for line in later)


def test_nor_do_those_of_one_that_failed(context: Any, logged: Lines) -> None:
    with pytest.raises(RuntimeError):
        step({**STEP, "fails": "yes"}, context)
    step({}, context)
    assert not any("order_id" in line or "correlation_id" in line for line in logged() if line["message"] == "done")


def test_a_failure_is_logged_once_with_its_ids_and_goes_on(context: Any, logged: Lines) -> None:
    with pytest.raises(RuntimeError, match="no stock table"):
        step({**STEP, "fails": "no stock table"}, context)
    (failed,) = [line for line in logged() if line["level"] == "ERROR"]
    assert (failed["message"], failed["order_id"], failed["exception_name"]) == ("failed", "ord_1", "RuntimeError")


def test_neither_event_nor_answer_is_logged(context: Any, logged: Lines) -> None:
    step({**STEP, "payment_token": "tok_secret", "street": "1 High St"}, context)
    assert "tok_secret" not in json.dumps(logged())
    assert "High St" not in json.dumps(logged())


def test_metrics_are_written_once_and_only_where_there_are_some(context: Any, capsys: pytest.CaptureFixture[str]) -> None:
    @observed
    def counted(event: dict[str, Any], _context: Any) -> None:
        if event["counts"]:
            metrics.add_metric("Counted", MetricUnit.Count, 1)

    counted({"counts": True}, context)
    counted({"counts": False}, context)
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [line["Counted"] for line in written] == [[1.0]]


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

        answer = each_record(self.batch("a", "poison", "b"), work)
        assert answer == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
        assert done == ["a", "b"]
        assert [line["message_id"] for line in logged() if line["level"] == "ERROR"] == ["m1"]

    def test_all_bad_ones_come_back_and_that_is_no_error(self) -> None:
        answer = each_record(self.batch("1", "2"), lambda body: [][int(body)])
        assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["m0", "m1"]

    def test_two_batches_of_a_warm_process_share_nothing(self) -> None:
        each_record(self.batch("1"), lambda body: [][int(body)])
        assert each_record(self.batch("2"), lambda _: None) == {"batchItemFailures": []}

    def test_keys_of_one_message_are_not_on_the_next_ones_lines(self, logged: Lines) -> None:
        def work(body: str) -> None:
            if body == "first":
                identify(order_id="ord_1", event_id="ord_1:1", correlation_id="request-1")
            logger.info("worked off")

        each_record(self.batch("first", "second"), work)
        first, second = logged()
        assert (first["order_id"], first["event_id"], first["correlation_id"]) == ("ord_1", "ord_1:1", "request-1")
        assert not {"order_id", "event_id", "correlation_id"} & set(second)
        assert second["message_id"] == "m1"
