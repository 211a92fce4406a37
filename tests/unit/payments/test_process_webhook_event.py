"""Webhook events of the payment provider: duplicated, late, and before the order's own events."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orderflow.domain.commands import RecordDispatch, RecordLoss
from orderflow.domain.events import StockLine
from orderflow.domain.money import Money
from orderflow.domain.order import Order
from payments import settlement_service
from payments.domain.payment_keys import capture_key, payment_key, refund_key
from payments.handlers import process_webhook_event
from payments.provider import Authorized
from payments.sandbox.provider import SandboxProvider
from tests.support.clock import recorded_at
from tests.support.prepared import PREPARED, TOKENS, prepare

EVENTS = Path(__file__).resolve().parents[3] / "events" / "payments"
SAMPLES = sorted(path.stem for path in EVENTS.glob("process_webhook_event/*.json") if ".answer" not in path.name)
LOG = process_webhook_event.LOG
KEY = payment_key("ord_1")
ALL = RecordDispatch("parcel_1", (StockLine("MUG-BLUE", 1), StockLine("FILTER-100", 1)))
PART = RecordDispatch("parcel_1", (StockLine("MUG-BLUE", 1),))
LOSE = RecordLoss("parcel_1")
DISPUTED = {"type": "dispute.created", "dispute_id": "dp_1", "amount": {"amount": 1740, "currency": "EUR"}, "reason": "not_received"}
WON = {"type": "dispute.closed", "dispute_id": "dp_1", "outcome": "won"}
LOST = WON | {"outcome": "lost"}
REOPENED = {"type": "dispute.reopened", "dispute_id": "dp_1"}
MONDAY, TUESDAY = {"at": "2026-03-02T09:00:00Z"}, {"at": "2026-03-03T09:00:00+01:00"}
EXPIRED = {"type": "authorization.expired"}
type Confirmed = Callable[..., Order]
type Deliver = Callable[..., list[Any]]


@pytest.fixture
def deliver(sandbox: SandboxProvider, context: Any) -> Deliver:
    """Return a function that delivers messages about the order and returns the failed ones."""

    def reported(*messages: dict[str, Any]) -> list[Any]:
        of_sqs = {"eventSource": "aws:sqs", "attributes": {"ApproximateReceiveCount": "1"}}
        bodies = [{"message_id": f"evt_{number}", "payment": KEY} | message for number, message in enumerate(messages)]
        records = [{"messageId": str(number), "body": json.dumps(body), **of_sqs} for number, body in enumerate(bodies)]
        return [one["itemIdentifier"] for one in process_webhook_event.handler({"Records": records}, context)["batchItemFailures"]]

    return reported


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_has_its_answer(sample: str, sandbox: SandboxProvider, context: Any) -> None:
    event = json.loads((EVENTS / "process_webhook_event" / f"{sample}.json").read_text())
    orders = {json.loads(one["body"])["payment"].partition(":")[0] for one in event["Records"] if one["body"].startswith("{")}
    real_steps = {
        "payments.handlers.authorize_payment": lambda order_id: settlement_service.authorize(LOG, TOKENS, sandbox, order_id),
        "payments.handlers.settle_payment": lambda order_id: settlement_service.settle(LOG, sandbox, order_id),
    }
    for order_id in orders & set(PREPARED):
        prepare(LOG, order_id, real_steps=real_steps)

    assert process_webhook_event.handler(event, context) == json.loads(
        (EVENTS / "process_webhook_event" / f"{sample}.answer.json").read_text()
    )


def types() -> list[str]:
    return [event.type for event in LOG.history("ord_1")]


def test_dispute_is_recorded_once_and_decided_once(confirmed: Confirmed, deliver: Deliver) -> None:
    confirmed(ALL)

    assert deliver(DISPUTED, DISPUTED, WON, DISPUTED, WON) == []
    assert types()[-3:] == ["PaymentDisputed", "DisputeClosed", "PaymentCaptured"]


def test_disputes_have_the_time_that_the_bank_reports(confirmed: Confirmed, deliver: Deliver) -> None:
    now = datetime.now(UTC)
    with recorded_at(now - timedelta(days=10)):
        confirmed(ALL)
    reported_times = [now - timedelta(days=5), now - timedelta(days=2)]

    assert deliver(DISPUTED | {"at": reported_times[0].isoformat()}, LOST | {"at": reported_times[1].isoformat()}) == []
    reported = [event for event in LOG.history("ord_1") if event.type in {"PaymentDisputed", "DisputeClosed"}]
    assert [event.occurred_at for event in reported] == reported_times
    assert min(event.appended_at for event in reported) >= now


@pytest.mark.parametrize(
    ("decisions", "outcome"),
    [
        ((WON, LOST), "lost"),
        ((LOST, WON), "won"),
        ((WON | MONDAY, LOST | TUESDAY, WON | MONDAY), "lost"),
        ((LOST | TUESDAY, WON | MONDAY), "lost"),
        ((LOST | MONDAY, REOPENED | TUESDAY), None),
        ((LOST | TUESDAY, REOPENED | MONDAY), "lost"),
        ((LOST, REOPENED, WON), "won"),
        ((WON | {"at": "9999-12-31T23:59:59Z"}, LOST | {"at": "9999-12-31T23:59:59Z"}), "lost"),
    ],
)
def test_decision_on_appeal_replaces_the_one_before(decisions: Any, outcome: str | None, confirmed: Confirmed, deliver: Deliver) -> None:
    confirmed(ALL)

    assert deliver(DISPUTED, *decisions) == []
    assert [dispute.outcome for dispute in LOG.load("ord_1").disputes] == [outcome]


@pytest.mark.parametrize(("amount", "currency", "booked"), [(1741, "EUR", 1741), (99_999, "EUR", 99_999), (1900, "USD", 1740)])
def test_dispute_beyond_the_payment_is_recorded_and_alarmed(
    amount: int, currency: str, booked: int, confirmed: Confirmed, deliver: Deliver, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    confirmed(ALL)
    settlement_service.settle(LOG, process_webhook_event.PROVIDER, "ord_1")

    dispute = DISPUTED | {"amount": {"amount": amount, "currency": currency}}
    assert deliver(dispute, dispute, LOST) == []
    assert LOG.load("ord_1").charged_back == booked
    assert len([line for line in logged() if line["message"] == "dispute_exceeds_payment"]) == 1


def test_several_disputes_on_one_payment_are_recorded(confirmed: Confirmed, deliver: Deliver) -> None:
    confirmed(ALL)

    assert deliver(DISPUTED, DISPUTED | {"dispute_id": "dp_2"}, WON, LOST | {"dispute_id": "dp_2"}) == []
    assert [dispute.state for dispute in LOG.load("ord_1").disputes] == ["won", "lost"]


def test_dispute_is_recorded_although_nothing_can_be_settled(confirmed: Confirmed, deliver: Deliver) -> None:
    confirmed(ALL, token="tok_expires")

    assert deliver(DISPUTED) == []
    assert types()[-1] == "PaymentDisputed"


def test_early_messages_are_retried(confirmed: Confirmed, deliver: Deliver, record: Confirmed) -> None:
    captured = {"type": "payment.captured", "capture_id": "cap_1"}
    assert deliver(DISPUTED, captured, EXPIRED) == ["0", "1", "2"]
    confirmed()
    assert deliver(WON, captured, REOPENED) == ["0", "1", "2"]
    record(ALL)

    assert deliver(WON, DISPUTED, WON) == ["0"]


def test_payment_message_succeeds_once_the_log_has_its_event(confirmed: Confirmed, deliver: Deliver, sandbox: SandboxProvider) -> None:
    """A message that overtakes the settlement consumer settles the payment itself."""
    confirmed(ALL, LOSE)
    capture = sandbox.capture(KEY, capture_key("ord_1", "parcel_1"), Money(1740, "EUR"))
    refunded = {"type": "payment.refunded", "key": refund_key("ord_1", "parcel:parcel_1")}

    assert deliver({"type": "payment.captured", "capture_id": capture.capture_id}, refunded) == []
    assert types()[-2:] == ["PaymentCaptured", "PaymentRefunded"]


def test_manual_payment_change_raises_an_alert(confirmed: Confirmed, deliver: Deliver) -> None:
    confirmed(ALL)

    assert deliver({"type": "payment.captured", "capture_id": "manual"}, {"type": "payment.refunded", "key": "manual"}) == ["0", "1"]


def test_order_without_authorization_is_cancelled(confirmed: Confirmed, deliver: Deliver, sandbox: SandboxProvider) -> None:
    confirmed()
    sandbox.expire(KEY)

    assert deliver(EXPIRED, EXPIRED) == []
    order = LOG.load("ord_1")
    assert order.cancellation
    assert (order.state, order.cancellation.by) == ("cancelling", "operator")


def test_expired_authorization_of_an_uncaptured_parcel_alerts(confirmed: Confirmed, deliver: Deliver, sandbox: SandboxProvider) -> None:
    confirmed(PART)
    sandbox.expire(KEY)

    assert deliver(EXPIRED) == ["0"]
    assert LOG.load("ord_1").state == "partly_dispatched"


def test_rest_of_a_captured_payment_may_expire(confirmed: Confirmed, deliver: Deliver, sandbox: SandboxProvider) -> None:
    confirmed(ALL)
    settlement_service.settle(LOG, sandbox, "ord_1")

    assert deliver(EXPIRED) == []
    assert LOG.load("ord_1").state == "dispatched"


def test_expiry_that_the_provider_lacks_changes_nothing(confirmed: Confirmed, deliver: Deliver, sandbox: SandboxProvider) -> None:
    confirmed()

    assert deliver(EXPIRED) == []
    assert LOG.load("ord_1").state == "confirmed"
    assert isinstance(sandbox.look_up(KEY), Authorized)


@pytest.mark.parametrize("payment", ["ord_1", "ord_1:capture:parcel_1", ":authorize", "foreign"])
def test_unknown_payment_raises_an_alert(payment: str, confirmed: Confirmed, deliver: Deliver) -> None:
    confirmed(ALL)

    assert deliver(DISPUTED | {"payment": payment}) == ["0"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "payment.celebrated"},
        DISPUTED | {"amount": {"amount": 12.5, "currency": "EUR"}},
        DISPUTED | {"amount": {"amount": 0, "currency": "EUR"}},
        DISPUTED | {"amount": {"amount": -1, "currency": "EUR"}},
        WON | {"outcome": "draw"},
        DISPUTED | {"message_id": ""},
    ],
)
def test_inconsistent_message_raises_an_alert(wrong: dict[str, Any], confirmed: Confirmed, deliver: Deliver) -> None:
    confirmed(ALL)

    assert deliver(wrong, DISPUTED) == ["0"]


FAILED = {"type": "refund.failed", "key": refund_key("ord_1", "parcel:parcel_1")}


def refunds(sandbox: SandboxProvider) -> list[tuple[str, str]]:
    payment = sandbox.look_up(KEY)
    assert isinstance(payment, Authorized)
    return [(one.key, one.status) for one in payment.refunds]


def test_refund_that_fails_later_is_retried(confirmed: Confirmed, deliver: Deliver, sandbox: SandboxProvider) -> None:
    confirmed(ALL, LOSE, token="tok_refund_fails_later")
    assert settlement_service.settle(LOG, sandbox, "ord_1").refunded == 1740
    sandbox.conclude_refunds(KEY)

    assert deliver(FAILED) == []
    assert types()[-3:] == ["PaymentRefunded", "PaymentRefundReversed", "PaymentRefunded"]
    assert LOG.load("ord_1").refunded == 1740
    assert refunds(sandbox) == [
        (refund_key("ord_1", "parcel:parcel_1"), "failed"),
        (refund_key("ord_1", "parcel:parcel_1", 2), "succeeded"),
    ]
    assert deliver(FAILED, FAILED) == []
    assert types()[-1] == "PaymentRefunded"


def test_pending_refund_is_recorded_once_it_succeeds(confirmed: Confirmed, deliver: Deliver, sandbox: SandboxProvider) -> None:
    confirmed(ALL, LOSE, token="tok_refund_pending")
    done = {"type": "payment.refunded", "key": refund_key("ord_1", "parcel:parcel_1")}
    assert deliver(done) == ["0"]
    assert LOG.load("ord_1").refunded == 0

    sandbox.conclude_refunds(KEY)
    assert deliver(done, done) == []
    assert types()[-2:] == ["PaymentCaptured", "PaymentRefunded"]


def test_failure_of_a_foreign_refund_changes_nothing(confirmed: Confirmed, deliver: Deliver) -> None:
    confirmed(ALL)

    assert deliver(FAILED | {"key": "by_hand"}) == []
    assert types()[-1] == "PaymentCaptured"
