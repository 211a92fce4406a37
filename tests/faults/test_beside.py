"""Invoices, credit notes and points under every fault of every call, with redelivery."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from invoices import issuing
from invoices.handlers import issue_invoices
from loyalty.handlers import award_points
from orderflow.aws.order_log import OrderLog
from orderflow.domain.commands import RecordCapture, RecordDispatch, RecordLoss, RecordRefund
from orderflow.domain.events import CreditNoteIssued, InvoiceIssued
from orderflow.domain.order import remaining
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB
from tests.fakes.aws.environment import TABLES, Aws
from tests.fakes.aws.eventbridge import FakeEventBridge
from tests.fakes.aws.s3 import FakeS3
from tests.fakes.aws.sqs import FakeSqs
from tests.fakes.aws.stepfunctions import FakeStepFunctions
from tests.faults.conftest import Tally
from tests.faults.faults import Call, Disturbance, target_of
from tests.faults.paths import Stage
from tests.faults.sweeps import Sweep
from tests.support import samples
from tests.support.prepared import an_order

ORDERS = ("ord_1", "ord_2", "ord_3")
ATTEMPTS = 4
CREDITING = "InvoicesIssue, refunded"
CONSUMERS: dict[str, Callable[[Any, Any], Any]] = {
    "InvoicesIssue": issue_invoices.handler,
    CREDITING: issue_invoices.handler,
    "LoyaltyAward": award_points.handler,
}


def begin(function: str, attempts: int = 1) -> Aws:
    """Return services with a customer's confirmed orders (refunded ones for credit notes), without invoices or points."""
    aws = Aws(FakeDynamoDB(*TABLES, attempts=attempts), FakeEventBridge(), FakeSqs(), FakeStepFunctions(), FakeS3(attempts))
    aws.lend()
    for order_id in ORDERS:
        order = an_order(log := OrderLog("OrderLog", aws.dynamodb.client), order_id).confirmed().order
        if function == CREDITING:
            lost = RecordDispatch("parcel_1", remaining(order)), RecordCapture("parcel_1", "cap_1"), RecordLoss("parcel_1")
            for command in (*lost, RecordRefund("ref_1", "parcel:parcel_1")):
                order = log.record(order, command, source="payments").order
    return aws


def disturbed(aws: Aws, function: str, disturbance: Disturbance) -> None:
    """Inject the disturbance into the function's calls."""
    for name, service in {"dynamodb": aws.dynamodb, "s3": aws.s3}.items():

        def before(operation: str, given: Any, name: str = name) -> None:
            disturbance.before(Call(function, name, operation, target_of(given)), given)

        def after(operation: str, given: Any, name: str = name) -> None:
            disturbance.after(Call(function, name, operation, target_of(given)), given)

        service.before, service.after = before, after


def deliver(function: str, context: Any) -> None:
    """Deliver the messages to the consumer until all succeed, as SQS does."""
    left = {record["messageId"]: record for record in samples.order_batch(*ORDERS)["Records"]}
    for _ in range(ATTEMPTS):
        try:
            answer = CONSUMERS[function]({"Records": list(left.values())}, context)
        except Crash:
            continue
        left = {failed["itemIdentifier"]: left[failed["itemIdentifier"]] for failed in answer["batchItemFailures"]}
        if not left:
            return
    raise AssertionError(f"{function} still fails for {sorted(left)}")


def wrong(aws: Aws, function: str) -> list[str]:
    """Return the violations in the consumer's results."""
    aws.dynamodb.before = aws.dynamodb.after = aws.s3.before = aws.s3.after = None
    if function == "LoyaltyAward":
        return _points(aws)
    kinds = {"2": InvoiceIssued} | ({"CN-": CreditNoteIssued} if function == CREDITING else {})
    return [line for series, kind in kinds.items() for line in _documents(aws, series, kind)]


def _documents(aws: Aws, series: str, kind: type[InvoiceIssued | CreditNoteIssued]) -> list[str]:
    rows = {item["order_id"]["S"]: item for item in aws.dynamodb.items("Invoices") if item["series"]["S"].startswith(series)}
    found: list[str] = []
    if sorted(int(row["position"]["N"]) for row in rows.values()) != [1, 2, 3]:
        found.append(f"numbers {[row['number']['S'] for row in rows.values()]}")
    for order_id in ORDERS:
        issued = [event.data for event in issue_invoices.LOG.history(order_id) if isinstance(event.data, kind)]
        if [event.number for event in issued] != [rows[order_id]["number"]["S"]]:
            found.append(f"{order_id} has {issued}")
        if not issued or issued[0].number not in aws.s3.objects["InvoiceDocuments", issued[0].document].decode():
            found.append(f"{order_id} lacks its own document")
    return found


def _points(aws: Aws) -> list[str]:
    entries = {item["entry"]["S"]: int(item["points"]["N"]) for item in aws.dynamodb.items("LoyaltyPoints")}
    return [] if entries == dict.fromkeys(ORDERS, 25) else [json.dumps(entries)]


@pytest.mark.parametrize("function", CONSUMERS)
def test_single_fault_of_one_call(stage: Stage, tally: Tally, context: Any, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    monkeypatch.setattr(issuing.time, "sleep", lambda _: None)
    recorded = Disturbance()
    disturbed(aws := begin(function), function, recorded)
    deliver(function, context)
    assert wrong(aws, function) == []

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        disturbed(aws := begin(function, attempts), function, disturbance)
        deliver(function, context)
        return wrong(aws, function)

    Sweep(function, tally).once(enumerate(recorded.calls), run)


@pytest.mark.parametrize("function", CONSUMERS)
def test_message_is_redelivered_at_any_call(
    stage: Stage, tally: Tally, context: Any, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    monkeypatch.setattr(issuing.time, "sleep", lambda _: None)
    recorded = Disturbance()
    disturbed(begin(function), function, recorded)
    deliver(function, context)

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        disturbance.act = lambda: deliver(function, context)
        disturbed(aws := begin(function, attempts), function, disturbance)
        deliver(function, context)
        return wrong(aws, function)

    Sweep(function, tally).between(enumerate(recorded.calls), "messages twice", run)
