"""The webhook with Stripe as provider: Stripe's signature is verified, and Stripe's events are processed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import stripe

from orderflow.aws.webhooks import Secret
from orderflow.domain.commands import RecordDispatch, RequestCancellation
from orderflow.domain.events import StockLine
from orderflow.domain.order import Order
from payments import webhook_verification
from payments.domain import payment_keys
from payments.handlers import process_webhook_event, receive_webhook
from payments.sandbox.provider import SandboxProvider
from payments.stripe.provider import StripeProvider
from payments.stripe.webhook_events import StripeEvent, parse_event
from payments.stripe.webhook_verification import MAX_BODY_BYTES
from tests.conftest import ENVIRONMENT
from tests.support import webhooks

KEY = payment_keys.payment_key("ord_1")
ALL = RecordDispatch("parcel_1", (StockLine("MUG-BLUE", 1), StockLine("FILTER-100", 1)))
LOG = process_webhook_event.LOG
METADATA = {"payment_key": KEY, "pipeline": "StripePayments"}
# Objects as Stripe documents them, without unused fields.
INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 1740,
    "amount_capturable": 0,
    "amount_received": 1740,
    "canceled_at": None,
    "cancellation_reason": None,
    "capture_method": "manual",
    "currency": "eur",
    "latest_charge": "ch_1",
    "livemode": False,
    "metadata": METADATA,
    "status": "succeeded",
}
REFUND = {
    "id": "re_1",
    "object": "refund",
    "amount": 100,
    "balance_transaction": "txn_1",
    "charge": "ch_1",
    "currency": "eur",
    "metadata": {},
    "payment_intent": "pi_1",
    "reason": None,
    "status": "succeeded",
}
DISPUTE = {
    "id": "du_1",
    "object": "dispute",
    "amount": 1740,
    "charge": "ch_1",
    "currency": "eur",
    "evidence_details": {"due_by": 1768953599, "has_evidence": False, "past_due": False, "submission_count": 0},
    "is_charge_refundable": False,
    "metadata": {},
    "payment_intent": "pi_1",
    "reason": "product_not_received",
    "status": "needs_response",
}
WON = DISPUTE | {"status": "won"}
LAPSED = INTENT | {"amount_received": 0, "status": "canceled", "canceled_at": 1768473000, "cancellation_reason": "automatic"}

# What CloudFormation puts into PaymentsWebhookSecret.
GENERATED = "a1B2" * 16

type Confirmed = Callable[..., Order]
type Post = Callable[..., Any]
type Deliver = Callable[..., list[Any]]


def event(kind: str, about: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "evt_1",
        "object": "event",
        "api_version": "2025-09-30.clover",
        "created": 1768473001,
        "data": {"object": about},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


@pytest.fixture
def post(aws: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> Post:
    """Return a function that sends a body to the webhook, signed as Stripe does."""
    aws.secretsmanager.text = "whsec_1"
    monkeypatch.setattr(receive_webhook, "SECRET", Secret("name", aws.secretsmanager))
    monkeypatch.setattr(receive_webhook, "VERIFY", webhook_verification.verifier("stripe"))

    def send(body: bytes, secret: str = "whsec_1", age: float = 0) -> Any:
        signature = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, int(time.time() - age))
        request: Any = {"headers": {"stripe-signature": signature}, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        answer = receive_webhook.handler(request | {"requestContext": {"requestId": "r"}}, context)
        return answer["statusCode"], json.loads(answer["body"])

    return send


def queued(aws: Any) -> list[Any]:
    return aws.sqs.sent.get(ENVIRONMENT["PAYMENTS_NOTICE_QUEUE_URL"], [])


def test_unsigned_event_logs_one_line_and_reads_no_secret(post: Post, aws: Any, context: Any, logged: Callable[[], list[Any]]) -> None:
    request: Any = {"headers": {}, "body": "{}", "requestContext": {"requestId": "r"}}
    answer = receive_webhook.handler(request, context)
    assert answer["statusCode"] == 401
    assert aws.secretsmanager.calls == {}
    [line] = logged()
    assert (line["level"], line["reason"]) == ("WARNING", "the header Stripe-Signature is missing")


@pytest.fixture
def intents() -> dict[str, dict[str, Any]]:
    """Return Stripe's payment intents by id."""
    return {"pi_1": INTENT}


@pytest.fixture
def disputes() -> dict[str, dict[str, Any]]:
    """Return Stripe's disputes by id."""
    return {"du_1": DISPUTE}


@pytest.fixture
def deliver(
    aws: Any,
    sandbox: SandboxProvider,
    context: Any,
    intents: dict[str, dict[str, Any]],
    disputes: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> Deliver:
    """Return a function that delivers Stripe's events to the consumer and returns the failed ones.

    The Stripe provider parses the events; the sandbox holds the payments.
    """

    class Retrieved(SimpleNamespace):
        def to_dict(self) -> dict[str, Any]:
            return vars(self)

    def retrieve(intent_id: str, *_: Any) -> Retrieved:
        if intent_id not in intents:
            raise stripe.InvalidRequestError("No such payment_intent", "intent", code="resource_missing", http_status=404)
        return Retrieved(**intents[intent_id])

    def dispute(dispute_id: str) -> Retrieved:
        return Retrieved(**disputes[dispute_id])

    services = SimpleNamespace(payment_intents=SimpleNamespace(retrieve=retrieve), disputes=SimpleNamespace(retrieve=dispute))
    connection: Any = SimpleNamespace(v1=services)
    through_stripe = StripeProvider(lambda: connection, "StripePayments", aws.dynamodb.client)
    monkeypatch.setattr(through_stripe, "look_up", sandbox.look_up)
    monkeypatch.setattr(sandbox, "parse_webhook", through_stripe.parse_webhook)

    def reported(*events: dict[str, Any]) -> list[Any]:
        of_sqs = {"eventSource": "aws:sqs", "attributes": {"ApproximateReceiveCount": "1"}}
        records = [{"messageId": str(number), "body": json.dumps(one), **of_sqs} for number, one in enumerate(events)]
        return [one["itemIdentifier"] for one in process_webhook_event.handler({"Records": records}, context)["batchItemFailures"]]

    return reported


def types() -> list[str]:
    return [event.type for event in LOG.history("ord_1")]


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("payment_intent.succeeded", INTENT),
        ("payment_intent.canceled", LAPSED),
        ("refund.created", REFUND),
        ("charge.dispute.created", DISPUTE),
        ("charge.dispute.closed", WON),
        ("charge.dispute.funds_reinstated", WON),
        ("refund.failed", REFUND | {"status": "failed"}),
    ],
)
def test_stripe_event_is_stored_without_customer_data(post: Post, aws: Any, kind: str, about: dict[str, Any]) -> None:
    personal = {
        "receipt_email": "ann@example.com",
        "shipping": {"name": "Ann Lee"},
        "evidence": {"customer_email_address": "ann@example.com", "billing_address": "1 High St"},
        "metadata": about["metadata"] | {"note": "Ann Lee"},
    }
    sent = event(kind, about | personal)

    assert post(json.dumps(sent, indent=2).encode()) == (202, {"message_id": "evt_1"})

    [stored] = queued(aws)
    assert not {word for word in ("ann@example.com", "Ann Lee", "High St") if word in json.dumps(stored)}
    assert meaning(stored) == meaning(sent) is not None


def meaning(one: Any) -> Any:
    return parse_event(msgspec.json.decode(json.dumps(one), type=StripeEvent))


def test_event_without_payment_is_accepted_and_dropped(post: Post, aws: Any) -> None:
    assert post(json.dumps(event("customer.created", {"id": "cus_1", "object": "customer"})).encode()) == (202, {"message_id": "evt_1"})
    assert queued(aws) == []


@pytest.mark.parametrize(("secret", "age"), [("whsec_2", 0), ("", 0), ("whsec_1", 301)])
def test_event_without_current_signature_is_refused(secret: str, age: float, post: Post, aws: Any) -> None:
    status, problem = post(json.dumps(event("payment_intent.succeeded", INTENT)).encode(), secret, age)

    assert (status, problem["type"]) == (401, "urn:order-pipeline:problem:signature-invalid")
    assert queued(aws) == []


def test_our_signature_is_refused_by_the_stripe_webhook(post: Post, context: Any) -> None:
    body = json.dumps(event("payment_intent.succeeded", INTENT))
    request: Any = {"headers": webhooks.headers(body.encode()), "body": body, "requestContext": {"requestId": "r"}}

    assert receive_webhook.handler(request, context)["statusCode"] == 401


def test_dispute_with_all_evidence_that_stripe_takes_is_queued_without_it(post: Post, aws: Any) -> None:
    evidence = {"uncategorized_text": "ü" * 150_000}
    disputed = event("charge.dispute.updated", DISPUTE | {"evidence": evidence})
    disputed["data"]["previous_attributes"] = {"evidence": evidence}
    status, _ = post(json.dumps(disputed).encode())
    assert status == 202
    assert "evidence" not in json.dumps(queued(aws))


def test_body_over_the_limit_is_refused_unread(post: Post) -> None:
    assert post(b"x" * (MAX_BODY_BYTES + 1))[0] == 413


@pytest.mark.parametrize("separator", ["\n", "\r\n", " "])
def test_both_secrets_are_accepted_while_one_replaces_the_other(post: Post, aws: Any, separator: str) -> None:
    aws.secretsmanager.text = f"whsec_new{separator}whsec_old\n"
    body = json.dumps(event("payment_intent.succeeded", INTENT)).encode()

    assert [post(body, secret)[0] for secret in ("whsec_new", "whsec_old", "whsec_other")] == [202, 202, 401]


@pytest.mark.parametrize("signed_with", ["", GENERATED])
def test_generated_secret_verifies_no_event_of_stripe(
    post: Post, aws: Any, signed_with: str, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    aws.secretsmanager.text = GENERATED

    assert post(json.dumps(event("payment_intent.succeeded", INTENT)).encode(), signed_with)[0] == 401
    assert queued(aws) == []
    assert "webhook_secret_unusable" in [line["message"] for line in logged()]


def test_known_or_recordable_capture_is_no_difference(confirmed: Confirmed, deliver: Deliver, sandbox: SandboxProvider) -> None:
    confirmed(ALL)
    sandbox.capture(KEY, payment_keys.capture_key("ord_1", "parcel_1"), LOG.load("ord_1").total)

    assert deliver(event("payment_intent.succeeded", INTENT)) == []
    assert types()[-1] == "PaymentCaptured"


def test_manual_capture_raises_an_alert(confirmed: Confirmed, deliver: Deliver, sandbox: SandboxProvider) -> None:
    confirmed()
    sandbox.capture(KEY, "by_hand", LOG.load("ord_1").total)

    assert deliver(event("payment_intent.succeeded", INTENT)) == ["0"]


def test_manual_refund_raises_an_alert(confirmed: Confirmed, deliver: Deliver) -> None:
    confirmed(ALL)

    assert deliver(event("refund.created", REFUND)) == ["0"]


def test_dispute_finds_its_order_by_the_intent(confirmed: Confirmed, deliver: Deliver, disputes: dict[str, dict[str, Any]]) -> None:
    confirmed(ALL)
    created, closed = event("charge.dispute.created", DISPUTE), event("charge.dispute.closed", WON)

    assert deliver(created, created) == []
    assert types()[-1] == "PaymentDisputed"
    disputes["du_1"] = WON
    assert deliver(closed, created, closed) == []
    assert types()[-2:] == ["DisputeClosed", "PaymentCaptured"]


def test_inquiry_is_a_dispute_once_it_escalates(confirmed: Confirmed, deliver: Deliver, disputes: dict[str, dict[str, Any]]) -> None:
    confirmed(ALL)
    disputes["du_1"] = DISPUTE | {"status": "warning_needs_response"}
    assert deliver(event("charge.dispute.created", disputes["du_1"])) == []
    assert "PaymentDisputed" not in types()

    disputes["du_1"] = DISPUTE
    assert deliver(event("charge.dispute.updated", DISPUTE)) == []
    assert types()[-1] == "PaymentDisputed"


def test_lost_dispute_won_on_appeal_is_recorded(confirmed: Confirmed, deliver: Deliver, disputes: dict[str, dict[str, Any]]) -> None:
    confirmed(ALL)
    for status in ("lost", "appeal_under_review", "won"):
        disputes["du_1"] = DISPUTE | {"status": status}
        assert deliver(event("charge.dispute.updated", disputes["du_1"])) == []

    assert [kind for kind in types() if "Dispute" in kind] == ["PaymentDisputed", "DisputeClosed", "DisputeOutcomeChanged", "DisputeClosed"]
    assert LOG.load("ord_1").charged_back == 0


def test_dispute_of_an_unknown_status_raises_an_alert_once(
    confirmed: Confirmed, deliver: Deliver, disputes: dict[str, dict[str, Any]], logged: Callable[[], list[dict[str, Any]]]
) -> None:
    confirmed(ALL)
    disputes["du_1"] = DISPUTE | {"status": "invented"}

    assert deliver(event("charge.dispute.updated", disputes["du_1"])) == []
    assert "dispute_status_unknown" in [line["message"] for line in logged()]


@pytest.mark.parametrize("status", ["pending", "requires_action", "invented"])
def test_pending_refund_is_not_recorded(
    status: str, confirmed: Confirmed, deliver: Deliver, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    confirmed(ALL)
    about = REFUND | {"status": status, "metadata": {"refund_key": payment_keys.refund_key("ord_1", "parcel:parcel_1")}}

    assert deliver(event("refund.created", about)) == []
    assert "PaymentRefunded" not in types()
    assert ("refund_status_unknown" in [line["message"] for line in logged()]) == (status == "invented")


def test_authorization_expired_at_stripe_cancels_the_order(confirmed: Confirmed, deliver: Deliver, sandbox: SandboxProvider) -> None:
    confirmed()
    sandbox.expire(KEY)

    assert deliver(event("payment_intent.canceled", LAPSED)) == []
    assert LOG.load("ord_1").state == "cancelling"


@pytest.mark.parametrize("reason", [None, "requested_by_customer"])
def test_cancellation_by_us_is_ignored(reason: str | None, confirmed: Confirmed, deliver: Deliver) -> None:
    confirmed()
    LOG.record(LOG.load("ord_1"), RequestCancellation("customer"), source="orders")
    before = types()

    assert deliver(event("payment_intent.canceled", LAPSED | {"cancellation_reason": reason})) == []
    assert types() == before


def test_foreign_payments_of_the_account_are_ignored(confirmed: Confirmed, deliver: Deliver, intents: dict[str, dict[str, Any]]) -> None:
    confirmed(ALL)
    intents["pi_1"] = INTENT | {"metadata": {"payment_key": KEY, "pipeline": "another"}}
    before = types()

    reported = [event("payment_intent.succeeded", INTENT), event("charge.dispute.created", DISPUTE)]
    assert deliver(*reported, event("charge.dispute.created", DISPUTE | {"payment_intent": "pi_unknown"})) == []
    assert types() == before


def test_malformed_stripe_event_raises_an_alert(deliver: Deliver) -> None:
    assert deliver({"id": 1}, event("refund.created", {"id": "re_1"})) == ["0", "1"]
