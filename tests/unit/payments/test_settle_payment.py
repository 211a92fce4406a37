"""Settling payments: one capture per parcel and one refund per cause, under any fault between provider and log."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orderflow.domain.commands import RecordDispatch, RecordLoss, RecordRecall, RequestCancellation
from orderflow.domain.events import PaymentRefunded, StockLine
from orderflow.domain.money import Money
from orderflow.domain.order import Order
from payments import provider_requests, settlement_service
from payments.domain.payment_keys import capture_key, payment_key, refund_key
from payments.handlers import settle_payment
from payments.provider import Authorized, Movements, ProviderRefused, ProviderTimeout, ProviderUnavailable, Voided
from payments.sandbox.provider import SandboxProvider
from payments.settlement_service import InconsistentPayment
from tests.fakes.aws.dynamodb import Crash, answer_lost, server_error, throttled
from tests.support.prepared import PREPARED, TOKENS, prepare

EVENTS = Path(__file__).resolve().parents[3] / "events" / "payments"
SAMPLES = sorted(
    str(path.relative_to(EVENTS).with_suffix("")) for path in EVENTS.glob("settle_payment/*.json") if ".answer" not in path.name
)
LOG = settle_payment.LOG
KEY = payment_key("ord_1")
MUG, FILTERS = (StockLine("MUG-BLUE", 1),), (StockLine("FILTER-100", 1),)
FIRST, SECOND = RecordDispatch("parcel_1", MUG), RecordDispatch("parcel_2", FILTERS)
LOSE = RecordLoss("parcel_1")
CANCEL, RECALL = RequestCancellation("customer"), RecordRecall("ship_1")
type Confirmed = Callable[..., Order]
type Run = Callable[[], list[Any]]
FAULTS = [Crash, throttled, server_error, lambda _: answer_lost()]


@pytest.fixture
def run(sandbox: SandboxProvider, context: Any) -> Run:
    """Return a function that delivers a message about the order and returns the failed messages."""
    body = {"detail": {"order_id": "ord_1", "correlation_id": "c", "event_id": "ord_1:6"}}
    attributes = {"ApproximateReceiveCount": "1"}
    record = {"messageId": "m-1", "body": json.dumps(body), "eventSource": "aws:sqs", "attributes": attributes}
    return lambda: [one["itemIdentifier"] for one in settle_payment.handler({"Records": [record]}, context)["batchItemFailures"]]


def moved(provider: SandboxProvider) -> tuple[dict[str, int], dict[str, int]]:
    payment = provider.look_up(KEY)
    assert isinstance(payment, Movements)
    return {one.key: one.amount.amount for one in payment.captures}, {one.key: one.amount.amount for one in payment.refunds}


def types(since: str) -> list[str]:
    names = [event.type for event in LOG.history("ord_1")]
    return names[names.index(since) + 1 :]


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_has_its_answer(sample: str, sandbox: SandboxProvider, context: Any) -> None:
    event = json.loads((EVENTS / f"{sample}.json").read_text())
    orders = {json.loads(one["body"])["detail"]["order_id"] for one in event["Records"] if one["body"].startswith("{")}
    for order_id in orders & set(PREPARED):
        prepare(
            LOG,
            order_id,
            real_steps={"payments.handlers.authorize_payment": lambda one: settlement_service.authorize(LOG, TOKENS, sandbox, one)},
        )

    assert settle_payment.handler(event, context) == json.loads((EVENTS / f"{sample}.answer.json").read_text())


def test_dispatched_parcels_are_captured_one_by_one(confirmed: Confirmed, record: Confirmed, run: Run, sandbox: SandboxProvider) -> None:
    confirmed(FIRST)
    assert run() == []
    assert moved(sandbox)[0] == {capture_key("ord_1", "parcel_1"): 1250}
    assert LOG.load("ord_1").payment == "authorized"

    record(SECOND)
    assert run() == []
    assert moved(sandbox)[0] == {capture_key("ord_1", "parcel_1"): 1250, capture_key("ord_1", "parcel_2"): 490}
    order = LOG.load("ord_1")
    assert (order.payment, order.captured) == ("captured", 1740)
    assert {parcel.capture_id for parcel in order.parcels} == {one.capture_id for one in look_up(sandbox).captures}


def look_up(provider: SandboxProvider) -> Movements:
    payment = provider.look_up(KEY)
    assert isinstance(payment, Movements)
    return payment


def test_lost_parcel_is_captured_and_refunded(confirmed: Confirmed, run: Run, sandbox: SandboxProvider) -> None:
    confirmed(FIRST, SECOND, LOSE)

    assert run() == []
    assert moved(sandbox)[1] == {refund_key("ord_1", "parcel:parcel_1"): 1250}
    assert types("ShipmentLost") == ["PaymentCaptured", "PaymentCaptured", "PaymentRefunded"]


def test_redelivered_message_changes_nothing(confirmed: Confirmed, run: Run, aws: Any) -> None:
    confirmed(FIRST, SECOND, LOSE)
    run()
    aws.dynamodb.calls.clear()

    assert run() == []
    assert aws.dynamodb.calls == {"Query": 1}


def test_message_before_the_first_dispatch_has_no_effect(confirmed: Confirmed, run: Run, sandbox: SandboxProvider) -> None:
    confirmed()

    assert run() == []
    assert moved(sandbox) == ({}, {})


def test_message_about_a_missing_order_is_retried(run: Run) -> None:
    assert run() == ["m-1"]


@pytest.mark.parametrize("kind", ["capture", "refund"])
def test_lost_answer_is_looked_up(kind: str, confirmed: Confirmed, run: Run, sandbox: SandboxProvider) -> None:
    confirmed(FIRST, SECOND, LOSE, token=f"tok_{kind}_timeout_after")

    assert run() == []
    captures, refunds = moved(sandbox)
    assert (sum(captures.values()), sum(refunds.values())) == (1740, 1250)


@pytest.mark.parametrize("kind", ["capture", "refund"])
def test_attempt_lost_without_effect_is_retried(kind: str, confirmed: Confirmed, run: Run) -> None:
    confirmed(FIRST, SECOND, LOSE, token=f"tok_{kind}_timeout_before")

    assert run() == ["m-1"]
    while run():
        continue
    order = LOG.load("ord_1")
    assert (order.captured, order.refunded) == (1740, 1250)


@pytest.mark.parametrize("kind", ["capture", "refund"])
def test_refused_provider_requests_retry_the_message(kind: str, confirmed: Confirmed, run: Run) -> None:
    confirmed(FIRST, SECOND, LOSE, token=f"tok_{kind}_unavailable")

    assert run() == ["m-1"]
    order = LOG.load("ord_1")
    assert (order.captured, order.refunded) == ((0, 0) if kind == "capture" else (1740, 0))


def test_expired_authorization_raises_an_alert(confirmed: Confirmed, run: Run) -> None:
    confirmed(FIRST, token="tok_expires")

    assert run() == ["m-1"]
    assert run() == ["m-1"]
    assert LOG.load("ord_1").captured == 0


def test_zero_amount_causes_no_request(confirmed: Confirmed, sandbox: SandboxProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    confirmed(FIRST)
    monkeypatch.setattr(sandbox, "capture", lambda *_: pytest.fail("a capture of 0 was requested: skip the request"))

    assert provider_requests.capture(sandbox, "ord_1", "parcel_1", Money(0, "EUR")) == capture_key("ord_1", "parcel_1")


def test_pending_refund_is_no_refund_until_it_succeeds(confirmed: Confirmed, run: Run, sandbox: SandboxProvider) -> None:
    confirmed(FIRST, SECOND, LOSE, token="tok_refund_pending")

    for _ in range(2):
        assert run() == []
    assert LOG.load("ord_1").refunded == 0
    assert types("ShipmentLost") == ["PaymentCaptured", "PaymentCaptured"]
    sandbox.conclude_refunds(KEY)
    assert run() == []
    assert types("ShipmentLost") == ["PaymentCaptured", "PaymentCaptured", "PaymentRefunded"]
    assert [one.status for one in look_up(sandbox).refunds] == ["succeeded"]


def test_failed_refund_is_retried_with_new_keys_then_alerted(
    confirmed: Confirmed, run: Run, sandbox: SandboxProvider, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    confirmed(FIRST, SECOND, LOSE, token="tok_refund_fails")

    assert [run() for _ in range(4)] == [["m-1"], ["m-1"], [], []]
    assert types("ShipmentLost") == ["PaymentCaptured", "PaymentCaptured", *3 * ["PaymentRefundFailed"]]
    keys = [refund_key("ord_1", "parcel:parcel_1", number) for number in (1, 2, 3)]
    assert [(one.key, one.status) for one in look_up(sandbox).refunds] == [(key, "failed") for key in keys]
    messages = [line["message"] for line in logged()]
    assert (messages.count("refund_failed"), messages.count("refund_not_paid")) == (3, 2)


def test_failing_refund_does_not_delay_a_cancellation(confirmed: Confirmed, sandbox: SandboxProvider) -> None:
    confirmed(FIRST, LOSE, CANCEL, RECALL, token="tok_refund_fails")

    assert settlement_service.void(LOG, sandbox, "ord_1") == "voided"
    assert sum(event.type == "PaymentRefundFailed" for event in LOG.history("ord_1")) == 1


@pytest.mark.parametrize(("manual", "refunded"), [(490, 1250), (1000, 740), (1740, 0)])
def test_manual_refund_leaves_the_rest_due(
    manual: int, refunded: int, confirmed: Confirmed, run: Run, sandbox: SandboxProvider, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    confirmed(FIRST, SECOND)
    run()
    sandbox.refund(KEY, "manual", Money(manual, "EUR"))
    LOG.record(LOG.load("ord_1"), LOSE, source="shipping")

    assert [run(), run()] == [[], []]
    assert LOG.load("ord_1").refunded == refunded
    assert ("refund_exceeds_payment" in [line["message"] for line in logged()]) == (refunded < 1250)


def test_earlier_refund_request_is_recorded_unchanged(confirmed: Confirmed, run: Run, sandbox: SandboxProvider) -> None:
    confirmed(FIRST, SECOND)
    run()
    sandbox.refund(KEY, refund_key("ord_1", "parcel:parcel_1"), Money(300, "EUR"))
    LOG.record(LOG.load("ord_1"), LOSE, source="shipping")

    assert [run(), run()] == [[], []]
    assert [event.data.amount.amount for event in LOG.history("ord_1") if isinstance(event.data, PaymentRefunded)] == [300, 950]
    assert moved(sandbox)[1] == {refund_key("ord_1", "parcel:parcel_1", number): amount for number, amount in ((1, 300), (2, 950))}


def test_concurrent_runs_process_everything_once(confirmed: Confirmed, sandbox: SandboxProvider) -> None:
    confirmed(FIRST, SECOND, LOSE)
    with ThreadPoolExecutor(4) as pool:
        orders = list(pool.map(lambda _: settlement_service.settle(LOG, sandbox, "ord_1"), range(8)))

    assert {(order.captured, order.refunded) for order in orders} == {(1740, 1250)}
    assert types("ShipmentLost") == ["PaymentCaptured", "PaymentCaptured", "PaymentRefunded"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 12))
def test_fault_at_any_call_captures_and_refunds_once(
    fault: Any, moment: str, number: int, confirmed: Confirmed, sandbox: SandboxProvider, aws: Any
) -> None:
    confirmed(FIRST, SECOND, LOSE)
    interrupted(aws, fault, moment, number, lambda: settlement_service.settle(LOG, sandbox, "ord_1"))

    order = settlement_service.settle(LOG, sandbox, "ord_1")

    assert (order.captured, order.refunded) == (1740, 1250)
    assert [sum(amounts.values()) for amounts in moved(sandbox)] == [1740, 1250]
    assert types("ShipmentLost") == ["PaymentCaptured", "PaymentCaptured", "PaymentRefunded"]


def interrupted(aws: Any, fault: Any, moment: str, number: int, work: Callable[[], object]) -> None:
    calls: list[str] = []

    def fail_at_number(operation: str, _: Any) -> None:
        calls.append(operation)
        if len(calls) == number:
            raise fault(operation)

    setattr(aws.dynamodb, moment, fail_at_number)
    with contextlib.suppress(Crash, Exception):  # any fault
        work()
    setattr(aws.dynamodb, moment, None)


# Cancellations: undispatched lines are voided.


def test_cancellation_captures_dispatched_parcels_and_voids_the_rest(confirmed: Confirmed, sandbox: SandboxProvider) -> None:
    confirmed(FIRST, CANCEL, RECALL)

    for _ in range(2):
        assert settlement_service.void(LOG, sandbox, "ord_1") == "voided"
    payment = sandbox.look_up(KEY)
    assert isinstance(payment, Voided)
    assert payment.captured == 1250
    assert types("ShipmentRecalled") == ["PaymentCaptured", "PaymentVoided"]


def test_payment_is_not_voided_before_the_recall(confirmed: Confirmed, sandbox: SandboxProvider) -> None:
    confirmed(FIRST, CANCEL)

    with pytest.raises(InconsistentPayment, match="must be recalled before the void"):
        settlement_service.void(LOG, sandbox, "ord_1")
    assert isinstance(sandbox.look_up(KEY), Authorized)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 8))
def test_fault_at_any_call_of_a_cancellation_ends_consistently(
    fault: Any, moment: str, number: int, confirmed: Confirmed, sandbox: SandboxProvider, aws: Any
) -> None:
    confirmed(FIRST, CANCEL, RECALL)
    interrupted(aws, fault, moment, number, lambda: settlement_service.void(LOG, sandbox, "ord_1"))

    assert settlement_service.void(LOG, sandbox, "ord_1") == "voided"
    assert types("ShipmentRecalled") == ["PaymentCaptured", "PaymentVoided"]
    assert isinstance(sandbox.look_up(KEY), Voided)


@pytest.mark.parametrize(
    ("token", "errors"),
    [
        ("tok_void_timeout_before", [ProviderTimeout]),
        ("tok_void_timeout_after", []),
        ("tok_void_unavailable", [ProviderUnavailable, ProviderUnavailable]),
    ],
)
def test_failing_void_succeeds_unless_the_provider_is_unavailable(
    token: str, errors: Sequence[type[Exception]], confirmed: Confirmed, sandbox: SandboxProvider
) -> None:
    confirmed(FIRST, CANCEL, RECALL, token=token)
    for error in errors:
        with pytest.raises(error):
            settlement_service.void(LOG, sandbox, "ord_1")
    if len(errors) < 2:
        assert settlement_service.void(LOG, sandbox, "ord_1") == "voided"


def test_foreign_capture_is_reported(confirmed: Confirmed, sandbox: SandboxProvider) -> None:
    confirmed(FIRST, CANCEL, RECALL)
    sandbox.capture(KEY, "manual", Money(100, "EUR"))

    with pytest.raises(InconsistentPayment, match="the provider captured 1350, the log has 1250"):
        settlement_service.void(LOG, sandbox, "ord_1")


def test_cancellation_with_expired_authorization_raises_an_alert(confirmed: Confirmed, sandbox: SandboxProvider) -> None:
    confirmed(FIRST, CANCEL, RECALL)
    sandbox.expire(KEY)

    with pytest.raises(ProviderRefused, match="not_authorized"):
        settlement_service.void(LOG, sandbox, "ord_1")


def test_undispatched_order_is_cancelled_after_its_authorization_expired(confirmed: Confirmed, sandbox: SandboxProvider) -> None:
    confirmed(CANCEL, RECALL)
    sandbox.expire(KEY)

    assert settlement_service.void(LOG, sandbox, "ord_1") == "voided"
