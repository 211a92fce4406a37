"""Reconciliation: equal payments pass, due amounts are settled, differences are reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from orderflow.domain.commands import CloseDispute, FailFulfilment, RecordDispatch, RecordDispute, RecordLoss
from orderflow.domain.events import StockLine
from orderflow.domain.money import Money
from orderflow.domain.order import Order
from payments import reconciliation, settlement_service
from payments.domain import payment_keys, webhook_events
from payments.domain.payment_keys import payment_key
from payments.handlers import reconcile_payments
from payments.provider import ProviderUnavailable
from payments.reconciliation import NotAllCompared
from payments.sandbox.provider import SandboxProvider
from tests.support import measured
from tests.support.prepared import place

EVENTS = Path(__file__).resolve().parents[3] / "events" / "payments" / "reconcile_payments"
LOG = reconcile_payments.LOG
KEY = payment_key("ord_1")
PART = RecordDispatch("parcel_1", (StockLine("MUG-BLUE", 1),))
LOSE = RecordLoss("parcel_1")
type Confirmed = Callable[..., Order]
type Run = Callable[[], dict[str, Any]]
type Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def run(sandbox: SandboxProvider, context: Any) -> Run:
    return lambda: reconcile_payments.handler({}, context)


def counted(answer: dict[str, Any]) -> tuple[int, int, int]:
    return answer["compared"], answer["repaired"], answer["different"]


def test_sample_has_its_answer() -> None:
    assert json.loads((EVENTS / "one-unavailable.json").read_text()) == {}
    assert json.loads((EVENTS / "one-unavailable.answer.json").read_text()) == {"errorType": NotAllCompared.__name__}


def test_equal_payments_are_no_difference(run: Run, confirmed: Confirmed, sandbox: SandboxProvider) -> None:
    confirmed(PART, LOSE)
    settlement_service.settle(LOG, sandbox, "ord_1")

    assert counted(run()) == (1, 0, 0)


class _WaitingProvider:
    """A provider that answers only once several payments are compared at the same time."""

    def __init__(self, at_once: int) -> None:
        self._barrier = Barrier(at_once)
        self._keys = [payment_key(f"ord_{number}") for number in range(at_once)]

    def recent(self, _day: date) -> list[str]:
        return self._keys

    def disputes(self, _key: str) -> list[webhook_events.WebhookEvent]:
        self._barrier.wait(timeout=5)
        return []


def test_several_payments_are_compared_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile_payments, "PROVIDER", _WaitingProvider(reconciliation.AT_ONCE))
    assert counted(run()) == (reconciliation.AT_ONCE, 0, reconciliation.AT_ONCE)


def test_due_amounts_are_settled_without_an_event(run: Run, confirmed: Confirmed) -> None:
    confirmed(PART, LOSE)

    assert counted(run()) == (1, 1, 0)
    order = LOG.load("ord_1")
    assert (order.captured, order.refunded) == (1250, 1250)
    assert counted(run()) == (1, 0, 0)


def test_capture_missing_in_the_log_is_recorded(run: Run, confirmed: Confirmed, sandbox: SandboxProvider) -> None:
    confirmed(PART)
    sandbox.capture(KEY, payment_keys.capture_key("ord_1", "parcel_1"), Money(1250, "EUR"))

    assert counted(run()) == (1, 1, 0)
    assert LOG.load("ord_1").captured == 1250


def test_manual_payment_change_is_reported(run: Run, confirmed: Confirmed, sandbox: SandboxProvider, logged: Lines) -> None:
    confirmed()
    sandbox.capture(KEY, "manual", Money(100, "EUR"))
    sandbox.refund(KEY, "manual refund", Money(40, "EUR"))

    assert counted(run()) == (1, 0, 1)
    reported = {line["what"]: (line["provider"], line["log"]) for line in logged() if line["message"] == "payment_differs"}
    assert reported == {"captured": (100, 0), "refunded": (40, 0)}


def test_expired_authorization_is_reported(run: Run, confirmed: Confirmed, sandbox: SandboxProvider, logged: Lines) -> None:
    confirmed(PART)
    sandbox.expire(KEY)

    assert counted(run()) == (1, 0, 1)
    assert [line["what"] for line in logged() if line["message"] == "payment_differs"] == ["held"]


def test_active_order_is_skipped(run: Run, sandbox: SandboxProvider) -> None:
    order = place(LOG)
    sandbox.authorize(KEY, "tok_approved", order.total)
    assert counted(run()) == (1, 0, 0)

    LOG.record(order, FailFulfilment("reserve", "States.Timeout"), source="orders")
    assert counted(run()) == (1, 0, 0)


def test_payment_without_order_is_reported_and_a_foreign_one_ignored(run: Run, sandbox: SandboxProvider) -> None:
    sandbox.authorize(payment_key("ord_gone"), "tok_approved", Money(100, "EUR"))
    sandbox.authorize("another shop's", "tok_approved", Money(100, "EUR"))

    assert counted(run()) == (1, 0, 1)


def test_failing_payment_comparison_does_not_stop_the_others(
    run: Run, confirmed: Confirmed, sandbox: SandboxProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirmed(PART)
    sandbox.authorize(payment_key("ord_0"), "tok_approved", Money(100, "EUR"))
    real = sandbox.look_up

    def look_up(key: str) -> Any:
        if key == KEY:
            raise ProviderUnavailable
        return real(key)

    monkeypatch.setattr(sandbox, "look_up", look_up)
    with pytest.raises(NotAllCompared, match="1 of 2 payments"):
        run()


def reported(lines: Lines) -> dict[str, tuple[Any, Any]]:
    return {line["what"]: (line["provider"], line["log"]) for line in lines() if line["message"] == "payment_differs"}


def test_pending_refund_is_reported_until_it_succeeds(run: Run, confirmed: Confirmed, sandbox: SandboxProvider, logged: Lines) -> None:
    confirmed(PART, LOSE, token="tok_refund_pending")
    settlement_service.settle(LOG, sandbox, "ord_1")

    assert counted(run()) == (1, 0, 1)
    assert reported(logged) == {"owed": (1250, 1250)}
    sandbox.conclude_refunds(KEY)
    assert counted(run()) == (1, 1, 0)
    assert LOG.load("ord_1").refunded == 1250


def test_refund_that_fails_after_its_recording_is_retried(run: Run, confirmed: Confirmed, sandbox: SandboxProvider) -> None:
    confirmed(PART, LOSE, token="tok_refund_fails_later")
    settlement_service.settle(LOG, sandbox, "ord_1")
    sandbox.conclude_refunds(KEY)

    assert counted(run()) == (1, 1, 0)
    assert [event.type for event in LOG.history("ord_1")][-2:] == ["PaymentRefundReversed", "PaymentRefunded"]


def test_persistently_failing_refund_is_reported_daily(run: Run, confirmed: Confirmed, logged: Lines) -> None:
    confirmed(PART, LOSE, token="tok_refund_fails")

    assert [counted(run()) for _ in range(4)] == 4 * [(1, 0, 1)]
    assert reported(logged) == {"owed": (0, 1250)}


def test_refund_beyond_a_dispute_is_reported(run: Run, confirmed: Confirmed, sandbox: SandboxProvider, logged: Lines) -> None:
    confirmed(PART, LOSE, RecordDispute("dp_1", Money(1000, "EUR"), ""))
    assert counted(run()) == (1, 1, 0)
    LOG.record(LOG.load("ord_1"), CloseDispute("dp_1", "lost"), source="payments")

    assert counted(run()) == (1, 0, 1)
    assert LOG.load("ord_1").refunded == 250
    assert reported(logged) == {"owed": (0, 1000)}


def test_failed_refund_is_compared_on_the_day_of_its_failure(confirmed: Confirmed, sandbox: SandboxProvider, aws: Any) -> None:
    confirmed(PART, LOSE, token="tok_refund_fails_later")
    settlement_service.settle(LOG, sandbox, "ord_1")
    for item in aws.dynamodb.items("SandboxPayments"):
        item["day"]["S"] = "2026-01-01"
        aws.dynamodb.client.put_item(TableName="SandboxPayments", Item=item)
    today = datetime.now(UTC).date()
    assert reconciliation.reconcile(LOG, sandbox, today).compared == 0

    sandbox.conclude_refunds(KEY)

    assert reconciliation.reconcile(LOG, sandbox, today + timedelta(days=1)).repaired == 1


def test_dispute_without_webhook_is_recorded(
    run: Run, confirmed: Confirmed, sandbox: SandboxProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirmed(PART)
    settlement_service.settle(LOG, sandbox, "ord_1")
    about = ("du_1:lost", KEY)
    found = [webhook_events.Disputed(*about, "du_1", Money(1300, "USD"), "fraudulent"), webhook_events.Decided(*about, "du_1", "lost")]
    monkeypatch.setattr(sandbox, "disputes", lambda _: found)

    assert counted(run()) == counted(run()) == (1, 0, 0)
    assert [(one.amount, one.outcome) for one in LOG.load("ord_1").disputes] == [(Money(1250, "EUR"), "lost")]


def test_payment_is_compared_four_times(sandbox: SandboxProvider, confirmed: Confirmed) -> None:
    confirmed()
    placed = datetime.now(UTC).date()
    compared_days = [days for days in range(60) if reconciliation.reconcile(LOG, sandbox, placed + timedelta(days=days)).compared]

    assert compared_days == [0, 1, 7, 30]


def test_metrics_have_the_counts(run: Run, confirmed: Confirmed, sandbox: SandboxProvider, capsys: pytest.CaptureFixture[str]) -> None:
    confirmed()
    sandbox.capture(KEY, "manual", Money(100, "EUR"))

    run()

    found = measured.values(capsys.readouterr().out)
    assert (found["PaymentsCompared"], found["PaymentsDifferent"]) == ([1], [1])
