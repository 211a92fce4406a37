"""Converts the objects of Stripe's SDK, and alerts an operator to a status that Stripe does not document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from payments import operator_alerts
from payments.stripe.mapping import Kind, is_known
from payments.stripe.objects import PaymentIntent, StripeDispute, StripeRefund

if TYPE_CHECKING:
    import stripe


def to_intent(intent: stripe.PaymentIntent) -> PaymentIntent:
    """Return a PaymentIntent of the SDK."""
    alert_if_unknown("payment", intent.id, intent.status)
    return msgspec.convert(intent.to_dict(), PaymentIntent)


def to_stripe_refund(refund: stripe.Refund) -> StripeRefund:
    """Return a Refund of the SDK."""
    alert_if_unknown("refund", refund.id, refund.status)
    return msgspec.convert(refund.to_dict(), StripeRefund)


def to_stripe_dispute(dispute: stripe.Dispute) -> StripeDispute:
    """Return a Dispute of the SDK."""
    alert_if_unknown("dispute", dispute.id, dispute.status)
    return msgspec.convert(dispute.to_dict(), StripeDispute)


def alert_if_unknown(kind: Kind, stripe_id: str, status: str | None) -> None:
    """Alert an operator if Stripe does not document the status; `payments.stripe.mapping` treats it in the safe way."""
    if not is_known(kind, status):
        operator_alerts.alert_operator(f"{kind}_status_unknown", stripe_id=stripe_id, status=status)
