"""Metrics: the embedded metric format, the metrics of appended events, and those of functions."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from orderflow.aws.batch import PartialFailures, process_messages
from orderflow.aws.http import Problem, api
from orderflow.aws.observability import instrumented
from orderflow.aws.saga_step import StepInput, StepResult, timed_step
from orderflow.domain import metrics
from orderflow.domain.events import (
    Event,
    EventData,
    OrderConfirmed,
    OrderHeldForReview,
    OrderRejected,
    PaymentCaptured,
    PaymentRefunded,
    StockReservationFailed,
)
from orderflow.domain.metrics import Measurement, embedded
from orderflow.domain.money import Money
from orderflow.domain.order import Latest, Order
from orderflow.domain.order_metrics import measured as measured_by
from tests.support import measured

PLACED = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
OTHER = "payments"


def documents(*measurements: Measurement) -> list[dict[str, Any]]:
    return embedded("OrderPipeline/test", OTHER, measurements, 1_700_000_000_000)


class TestFormat:
    def test_document_has_namespace_dimensions_and_unit(self) -> None:
        [document] = documents(Measurement(metrics.WEBHOOK_REFUSALS, 1, (("reason", "signature-invalid"),)))
        assert document == {
            "_aws": {
                "Timestamp": 1_700_000_000_000,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "OrderPipeline/test",
                        "Dimensions": (("service", "reason"),),
                        "Metrics": [{"Name": "WebhookRefusals", "Unit": "Count"}],
                    }
                ],
            },
            "service": "payments",
            "reason": "signature-invalid",
            "WebhookRefusals": 1,
        }

    def test_equal_dimensions_share_a_document(self) -> None:
        [document] = documents(Measurement(metrics.PAYMENTS_COMPARED, 7), Measurement(metrics.PAYMENTS_DIFFERENT, 1))
        assert (document["PaymentsCompared"], document["PaymentsDifferent"]) == (7, 1)

    def test_other_labels_have_a_document_of_their_own(self) -> None:
        found = documents(*(Measurement(metrics.CAPTURED_AMOUNT, 1, (("currency", one),)) for one in ("EUR", "USD")))
        assert [one["currency"] for one in found] == ["EUR", "USD"]

    def test_compatible_dimensions_share_a_document(self) -> None:
        step = Measurement(metrics.SAGA_STEP_MILLISECONDS, 9, (("outcome", "confirmed"), ("step", "confirm")))
        decision = Measurement(metrics.ORDER_DECISION_SECONDS, 2, (("outcome", "confirmed"),))
        other = Measurement(metrics.ORDER_DECISION_SECONDS, 3, (("outcome", "held"),))
        first, second = documents(step, decision, other)
        assert [one["Dimensions"] for one in first["_aws"]["CloudWatchMetrics"]] == [(("step", "outcome"),), ((), ("outcome",))]
        assert (first["outcome"], first["SagaStepMilliseconds"], first["OrderDecisionSeconds"]) == ("confirmed", 9, 2)
        assert (second["outcome"], second["OrderDecisionSeconds"]) == ("held", 3)

    def test_values_of_a_metric_are_chunked_at_the_formats_limit(self) -> None:
        found = documents(*(Measurement(metrics.PUBLICATION_LAG_SECONDS, number) for number in range(201)))
        assert [one["PublicationLagSeconds"] for one in found] == [tuple(range(100)), tuple(range(100, 200)), 200]

    def test_no_measurement_is_no_document(self) -> None:
        assert documents() == []

    def test_every_metric_has_a_name_of_its_own_and_few_dimensions(self) -> None:
        found = [one for one in vars(metrics).values() if isinstance(one, metrics.Metric)]
        assert len({one.name for one in found}) == len(found)
        assert all(len(names) <= 2 for one in found for names in one.dimensions)


def order(**starts: int) -> Order:
    """Return an order with events of these types, each appended this number of seconds after it was placed."""
    found = {"OrderPlaced": Latest(1, PLACED)}
    found |= {name: Latest(2 + number, PLACED + timedelta(seconds=seconds)) for number, (name, seconds) in enumerate(starts.items())}
    return replace(Order(order_id="ord_1"), latest=found)


def event(data: EventData, seconds: float) -> Event:
    return Event(
        event_id="ord_1:9",
        type=type(data).__name__,
        schema_version=1,
        occurred_at=PLACED + timedelta(seconds=seconds),
        source="orders",
        correlation_id="c",
        causation_id=None,
        order_id="ord_1",
        order_version=9,
        data=data,
    )


def made(kind: type[EventData], **fields: Any) -> EventData:
    """Return event data of a type, without the fields that metrics do not read."""
    return kind(**{name: fields.get(name) for name in kind.__struct_fields__})


class TestAppendedEvents:
    @pytest.mark.parametrize(
        ("kind", "outcome"), [(OrderConfirmed, "confirmed"), (OrderHeldForReview, "held"), (OrderRejected, "rejected")]
    )
    def test_decision_is_measured_from_placing(self, kind: type[EventData], outcome: str) -> None:
        assert list(measured_by(order(), event(made(kind), 12.5))) == [
            Measurement(metrics.ORDER_DECISION_SECONDS, 12.5, (("outcome", outcome),))
        ]

    def test_decision_after_a_review_is_measured_from_its_approval(self) -> None:
        [found] = measured_by(order(OrderHeldForReview=2, OrderReviewApproved=7200), event(made(OrderConfirmed), 7203))
        assert found.value == 3

    def test_stock_out_counts_once_for_an_order(self) -> None:
        assert list(measured_by(order(), event(made(StockReservationFailed), 1))) == [Measurement(metrics.STOCK_OUTS, 1)]

    @pytest.mark.parametrize(("kind", "metric"), [(PaymentCaptured, metrics.CAPTURED_AMOUNT), (PaymentRefunded, metrics.REFUNDED_AMOUNT)])
    def test_money_is_measured_in_minor_units_by_currency(self, kind: type[EventData], metric: metrics.Metric) -> None:
        moved = made(kind, amount=Money(1234, "EUR"))
        assert list(measured_by(order(), event(moved, 1))) == [Measurement(metric, 1234, (("currency", "EUR"),))]


class TestFunctions:
    @pytest.mark.parametrize(("answer", "outcome"), [("reserved", "reserved"), (None, "fault")])
    def test_step_is_timed_by_its_outcome(self, answer: str | None, outcome: str, context: Any, capsys: pytest.CaptureFixture[str]) -> None:
        @instrumented
        @timed_step("reserve")
        def step(_event: StepInput, _context: Any) -> StepResult[str]:
            if answer is None:
                raise RuntimeError
            return {"outcome": answer}

        try:
            step({"order_id": "ord_1", "correlation_id": "c"}, context)
        except RuntimeError:
            assert answer is None
        [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
        assert (line["step"], line["outcome"]) == ("reserve", outcome)
        assert 0 <= line["SagaStepMilliseconds"] < 5000

    def test_redelivered_message_is_counted(self, context: Any, capsys: pytest.CaptureFixture[str]) -> None:
        def record(receives: str) -> dict[str, Any]:
            return {"messageId": receives, "body": "{}", "attributes": {"ApproximateReceiveCount": receives}, "eventSource": "aws:sqs"}

        @instrumented
        def consume(event: dict[str, Any], _context: Any) -> PartialFailures:
            return process_messages(event, lambda _: None)

        consume({"Records": [record("1"), record("3")]}, context)
        assert measured.values(capsys.readouterr().out) == {"RetriedMessages": [1]}

    @pytest.mark.parametrize(("http", "counted"), [({"http": {"method": "POST"}}, [1]), ({}, None)])
    def test_refusals_of_webhooks_are_counted_by_reason(
        self, http: dict[str, Any], counted: list[int] | None, context: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        @api
        def handler(_event: Any) -> Any:
            raise Problem(401, "signature-invalid", "Signature invalid", "sign it")

        event: Any = {"requestContext": {"requestId": "r", **http}, "headers": {}}
        handler(event, context)
        printed = capsys.readouterr().out
        assert measured.values(printed).get("WebhookRefusals") == counted
        assert ('"reason":"signature-invalid"' in printed) is bool(counted)

    def test_measurements_of_a_failed_invocation_are_written(self, context: Any, capsys: pytest.CaptureFixture[str]) -> None:
        run: Callable[..., Any] = instrumented(timed_step("void")(_fault))
        with pytest.raises(RuntimeError):
            run({"order_id": "ord_1", "correlation_id": "c"}, context)
        assert "SagaStepMilliseconds" in measured.values(capsys.readouterr().out)


def _fault(_event: StepInput, _context: Any) -> StepResult[str]:
    raise RuntimeError
