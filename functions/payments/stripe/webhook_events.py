"""Verifies and parses Stripe's events; Stripe's SDK only checks the signature.

A parsed event is only a trigger: its consumer looks up the payment. It names the payment by its PaymentIntent, and by
our key if Stripe's object has it; a dispute has none, so StripeProvider.key_of reads the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
import stripe
from msgspec import Struct

from orderflow.domain.money import Money
from payments.provider import RefundStatus
from payments.stripe.mapping import PAYMENT_KEY, REFUND_KEY, from_stripe, to_refund
from payments.stripe.objects import StripeRefund

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE_SECONDS = 300
# Reasons of requested cancellations; for any other reason Stripe itself canceled the intent, whose authorization expired.
_REQUESTED_CANCELLATIONS = {None, "abandoned", "duplicate", "fraudulent", "requested_by_customer"}


class InvalidStripeEvent(ValueError):
    """The body has no valid signature of the last five minutes, or is not a Stripe event."""


type Kind = Literal["payment.captured", "payment.refunded", "refund.failed", "refund.pending", "dispute", "authorization.expired"]
_KIND_BY_STATUS: dict[RefundStatus, Kind] = {"succeeded": "payment.refunded", "failed": "refund.failed", "pending": "refund.pending"}


class ParsedEvent(Struct, frozen=True, kw_only=True):
    """A change of a payment at the provider.

    `message_id` is the same in repeated deliveries. `authorization_id` is the payment's id, `payment_key` our key if Stripe
    sends it. `reference` is the id of the capture, refund or dispute. `amount` is the sum of all captures, or the refunded,
    disputed or authorized amount. `reason` is the key of a refund, `status` its status at Stripe.
    """

    message_id: str
    type: Kind
    authorization_id: str
    payment_key: str | None
    reference: str
    amount: Money
    reason: str = ""
    status: str | None = None


class EventObject(Struct, frozen=True):
    """The object of an event: a PaymentIntent, a Refund or a Dispute."""

    id: str
    amount: int
    currency: str
    status: str | None = None
    payment_intent: str | None = None
    amount_received: int = 0
    reason: str | None = None
    cancellation_reason: str | None = None
    balance_transaction: str | None = None
    metadata: dict[str, str] = {}


class EventData(Struct, frozen=True):
    """The data of an event."""

    object: Any


class StripeEvent(Struct, frozen=True):
    """A Stripe event."""

    id: str
    type: str
    data: EventData


def verify_and_parse(raw: bytes, signature: str, secrets: Sequence[str]) -> ParsedEvent | None:
    """Verify a webhook body and return its parsed event, or None if it does not concern a payment.

    `signature` is the header Stripe-Signature, `secrets` are the endpoint's (whsec_…), two while one replaces the other.

    Raises:
        InvalidStripeEvent: the signature is missing, wrong or too old, or the body is not an event.
    """
    try:
        _verify(raw, signature, secrets)
        return parse_event(msgspec.json.decode(raw, type=StripeEvent))
    except (stripe.SignatureVerificationError, UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        # The SDK's error holds the body.
        raise InvalidStripeEvent(type(error).__name__) from None


def _verify(raw: bytes, signature: str, secrets: Sequence[str]) -> None:
    refused = stripe.SignatureVerificationError("no secret", signature, raw)  # pyright: ignore[reportUnknownMemberType]
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(raw, signature, secret, TOLERANCE_SECONDS)  # pyright: ignore[reportUnknownMemberType]
        except stripe.SignatureVerificationError as error:
            refused = error
        else:
            return
    raise refused


def redacted(raw: bytes) -> bytes:
    """Return the event without the fields that this pipeline does not use: names, addresses and evidence of customers."""
    event = msgspec.json.decode(raw, type=StripeEvent)
    thing = _event_object(event)
    ours = {name: thing.metadata[name] for name in (PAYMENT_KEY, REFUND_KEY) if name in thing.metadata}
    return msgspec.json.encode(msgspec.structs.replace(event, data=EventData(msgspec.structs.replace(thing, metadata=ours))))


def parse_event(event: StripeEvent) -> ParsedEvent | None:
    """Return the parsed event, or None if it does not concern a payment.

    Every event about a dispute or a refund counts, also of a future type: the object has the meaning. Canceled intents count
    if Stripe canceled them itself. A refund of an uncaptured amount does not count.

    Raises:
        ValidationError: (msgspec's) the object does not have the form of the event's type.
    """
    match event.type:
        case "payment_intent.amount_capturable_updated" | "payment_intent.succeeded":
            return _parse_capture(event, _event_object(event))
        case "payment_intent.canceled":
            return _parse_expiry(event, _event_object(event))
        case kind if kind.startswith(("refund.", "charge.refund.")):
            return _parse_refund(event, _event_object(event))
        case kind if kind.startswith("charge.dispute."):
            return _parse_dispute(event, _event_object(event))
        case _:
            return None


def _event_object(event: StripeEvent) -> EventObject:
    return msgspec.convert(event.data.object, EventObject)


def _parse_capture(event: StripeEvent, intent: EventObject) -> ParsedEvent | None:
    if not intent.amount_received:
        return None
    return ParsedEvent(
        message_id=event.id,
        type="payment.captured",
        authorization_id=intent.id,
        payment_key=intent.metadata.get(PAYMENT_KEY),
        reference=intent.id,
        amount=from_stripe(intent.amount_received, intent.currency),
    )


def _parse_expiry(event: StripeEvent, intent: EventObject) -> ParsedEvent | None:
    if intent.cancellation_reason in _REQUESTED_CANCELLATIONS:
        return None
    return ParsedEvent(
        message_id=event.id,
        type="authorization.expired",
        authorization_id=intent.id,
        payment_key=intent.metadata.get(PAYMENT_KEY),
        reference=intent.id,
        amount=from_stripe(intent.amount, intent.currency),
    )


def _parse_refund(event: StripeEvent, refund: EventObject) -> ParsedEvent | None:
    moved = REFUND_KEY in refund.metadata or refund.balance_transaction
    if refund.payment_intent is None or not moved:
        return None
    known = to_refund(StripeRefund(refund.id, refund.amount, refund.currency, refund.status, metadata=refund.metadata))
    return ParsedEvent(
        message_id=event.id,
        type=_KIND_BY_STATUS[known.status],
        authorization_id=refund.payment_intent,
        payment_key=refund.metadata.get(PAYMENT_KEY),
        reference=refund.id,
        amount=known.amount,
        reason=known.key,
        status=refund.status,
    )


def _parse_dispute(event: StripeEvent, dispute: EventObject) -> ParsedEvent | None:
    if dispute.payment_intent is None:
        return None
    return ParsedEvent(
        message_id=event.id,
        type="dispute",
        authorization_id=dispute.payment_intent,
        payment_key=None,
        reference=dispute.id,
        amount=from_stripe(dispute.amount, dispute.currency),
        reason=dispute.reason or "",
    )
