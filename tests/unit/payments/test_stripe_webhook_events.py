"""Parsing of Stripe's events, and refusal of unsigned ones."""

from __future__ import annotations

import inspect
import json
import time
from typing import Any, get_args

import pytest
import stripe

from orderflow.domain.money import Money
from payments.stripe.webhook_events import InvalidStripeEvent, ParsedEvent, verify_and_parse

SECRET = "whsec_test"
INTENT = {"id": "pi_1", "amount": 2500, "currency": "eur", "amount_received": 900, "metadata": {"payment_key": "ord_1:authorize"}}
REFUND = {
    "id": "re_1",
    "amount": 300,
    "currency": "jpy",
    "status": "succeeded",
    "payment_intent": "pi_1",
    "balance_transaction": "txn_1",
    "metadata": {},
}
DISPUTE = {"id": "dp_1", "amount": 900, "currency": "eur", "payment_intent": "pi_1", "reason": "fraudulent", "metadata": {}}


def event(kind: str, about: Any, **more: Any) -> bytes:
    return json.dumps({"id": "evt_1", "object": "event", "type": kind, "data": {"object": {**about, **more}}}).encode()


def signed(raw: bytes, *, secret: str = SECRET, age: float = 0) -> str:
    return stripe.WebhookSignature.generate_signature_header(raw.decode(), secret, int(time.time() - age))


def reported(raw: bytes) -> ParsedEvent | None:
    return verify_and_parse(raw, signed(raw), [SECRET])


@pytest.mark.parametrize("kind", ["payment_intent.amount_capturable_updated", "payment_intent.succeeded"])
def test_capture_event_has_our_key_and_the_captured_amount(kind: str) -> None:
    assert reported(event(kind, INTENT)) == ParsedEvent(
        message_id="evt_1",
        type="payment.captured",
        authorization_id="pi_1",
        payment_key="ord_1:authorize",
        reference="pi_1",
        amount=Money(900, "EUR"),
    )


@pytest.mark.parametrize(
    ("metadata", "key", "reason"),
    [({"payment_key": "ord_1:authorize", "refund_key": "r"}, "ord_1:authorize", "r"), ({}, None, "by_hand")],
)
def test_refund_event_tells_own_from_manual_refunds(metadata: dict[str, str], key: str | None, reason: str) -> None:
    found = reported(event("refund.created", REFUND, metadata=metadata))

    assert found
    assert (found.type, found.payment_key, found.reference, found.reason) == ("payment.refunded", key, "re_1", reason)
    assert found.amount == Money(300, "JPY")


@pytest.mark.parametrize("reason", ["automatic", "expired", "void_invoice", "invented"])
def test_intent_canceled_by_stripe_has_expired(reason: str) -> None:
    found = reported(event("payment_intent.canceled", INTENT, status="canceled", cancellation_reason=reason))

    assert found
    assert (found.type, found.authorization_id, found.amount) == ("authorization.expired", "pi_1", Money(2500, "EUR"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("succeeded", "payment.refunded"),
        ("pending", "refund.pending"),
        ("requires_action", "refund.pending"),
        ("failed", "refund.failed"),
        ("canceled", "refund.failed"),
        ("invented", "refund.pending"),
        (None, "refund.pending"),
    ],
)
@pytest.mark.parametrize("event_type", ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated", "refund.invented"])
def test_refund_event_is_parsed_by_its_status(event_type: str, status: str | None, kind: str) -> None:
    found = reported(event(event_type, REFUND, status=status))

    assert found
    assert (found.type, found.authorization_id, found.reference) == (kind, "pi_1", "re_1")


@pytest.mark.parametrize("kind", ["created", "updated", "closed", "funds_withdrawn", "funds_reinstated", "invented"])
def test_every_dispute_event_is_parsed(kind: str) -> None:
    found = reported(event(f"charge.dispute.{kind}", DISPUTE, status="warning_needs_response"))

    assert found
    assert (found.type, found.authorization_id, found.reference, found.reason) == ("dispute", "pi_1", "dp_1", "fraudulent")


def test_every_refund_and_dispute_event_of_the_sdk_is_parsed() -> None:
    types = get_args(inspect.get_annotations(stripe.Event)["type"])
    about = [kind for kind in types if kind.startswith(("refund.", "charge.dispute.", "charge.refund."))]

    assert {"refund.failed", "charge.dispute.funds_reinstated"} <= set(about)
    for kind in about:
        assert reported(event(kind, DISPUTE if "dispute" in kind else REFUND, status="needs_response")), kind


@pytest.mark.parametrize(
    "raw",
    [
        event("customer.created", {"id": "cus_1"}),
        event("payment_intent.amount_capturable_updated", INTENT, amount_received=0),
        event("payment_intent.canceled", INTENT, status="canceled", cancellation_reason=None),
        event("payment_intent.canceled", INTENT, status="canceled", cancellation_reason="requested_by_customer"),
        event("refund.created", REFUND, payment_intent=None),
        event("refund.created", REFUND, balance_transaction=None),
        event("charge.dispute.created", DISPUTE, payment_intent=None),
    ],
)
def test_foreign_event_is_ignored(raw: bytes) -> None:
    assert reported(raw) is None


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "nonsense",
        signed(event("refund.created", REFUND), secret="whsec_other"),
        signed(event("refund.created", REFUND), age=301),
        signed(event("refund.created", REFUND, amount=1)),
    ],
    ids=["missing", "malformed", "other secret", "too old", "other body"],
)
def test_event_without_current_signature_is_not_from_stripe(signature: str) -> None:
    with pytest.raises(InvalidStripeEvent):
        verify_and_parse(event("refund.created", REFUND), signature, [SECRET])


def test_missing_secret_refuses_every_stripe_event() -> None:
    raw = event("refund.created", REFUND)
    with pytest.raises(InvalidStripeEvent):
        verify_and_parse(raw, signed(raw, secret=""), [])


@pytest.mark.parametrize("raw", [b"\xff", b"[]", b"{}", event("refund.created", {"id": "re_1"}), b'{"id": 1}'])
def test_malformed_body_is_refused_without_its_content(raw: bytes) -> None:
    signature = signed(raw) if raw != b"\xff" else "t=1,v1=0"
    with pytest.raises(InvalidStripeEvent) as refused:
        verify_and_parse(raw, signature, [SECRET])
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("secret", ["whsec_old", "whsec_new"])
def test_two_secrets_are_valid_while_one_replaces_the_other(secret: str) -> None:
    raw = event("refund.created", REFUND)
    assert verify_and_parse(raw, signed(raw, secret=secret), ["whsec_new", "whsec_old"])


def test_every_signature_of_stripes_header_is_tried() -> None:
    raw = event("refund.created", REFUND)
    head, _, tail = signed(raw).partition(",")
    assert verify_and_parse(raw, f"{head},v1={'0' * 64},{tail},v0=1", [SECRET])
    assert verify_and_parse(raw, f"{tail},v1={'0' * 64},{head}", [SECRET])
