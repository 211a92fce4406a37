"""Maps Stripe's objects to payments, and amounts to Stripe's units.

A PaymentIntent is created before its amount is authorized, with the payment key in its metadata. Each capture adds its own key to
them in the same request, and each refund has its key in its own metadata. So captures and refunds can be looked up under their keys
as long as Stripe stores the payment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Literal

from orderflow.domain.events import DisputeState
from orderflow.domain.money import Money, charge_step, unit
from payments.domain.minimums import AMOUNT_TOO_SMALL
from payments.provider import Authorized, Capture, Contradiction, Declined, Payment, ProviderRefused, Refund, RefundStatus, Voided
from payments.stripe.objects import Charge, PaymentIntent, StripeDispute, StripeRefund

PAYMENT_KEY = "payment_key"
REFUND_KEY = "refund_key"
DECLINED = "declined"
INVALID_TOKEN = "invalid_token"  # noqa: S105 - the code of a decline
# The key of manual captures and refunds in Stripe's dashboard.
MANUAL = "by_hand"

_CAPTURE = "capture_"
_NEEDS_AUTHENTICATION = "authentication_required"
# Stripe's smallest unit is the minor unit of ISO 4217 except for these currencies: units in a whole unit.
_STRIPE_UNITS = {"UGX": 100, "ISK": 100, "MGA": 1}
# https://docs.stripe.com/payments/paymentintents/lifecycle.
_PAYMENT_STATUSES = {
    *("requires_payment_method", "requires_confirmation", "requires_action", "processing"),
    *("requires_capture", "succeeded", "canceled"),
}
# https://docs.stripe.com/api/refunds/object: with `pending`, the customer does not have the money yet.
_REFUND_STATUSES: dict[str, RefundStatus] = {
    "succeeded": "succeeded",
    "pending": "pending",
    "requires_action": "pending",
    "failed": "failed",
    "canceled": "failed",
}
# https://docs.stripe.com/api/disputes/object. None: no money is disputed, unless balance transactions say otherwise.
_DISPUTE_STATUSES: dict[str, DisputeState | None] = {
    "warning_needs_response": None,
    "warning_under_review": None,
    "warning_closed": None,
    "prevented": None,
    "needs_response": "open",
    "under_review": "open",
    "appeal_needs_response": "open",
    "appeal_under_review": "open",
    "won": "won",
    "lost": "lost",
}
type Kind = Literal["payment", "refund", "dispute"]
_KNOWN_STATUSES: dict[Kind, Collection[str]] = {"payment": _PAYMENT_STATUSES, "refund": _REFUND_STATUSES, "dispute": _DISPUTE_STATUSES}
# Error codes with status 400 for a payment method that cannot be charged (https://docs.stripe.com/error-codes): the customer can use
# another one. Errors of the account or of the request are not in this list.
_CUSTOMER_ERRORS = {
    "card_decline_rate_limit_exceeded",
    "charge_exceeds_source_limit",
    "charge_exceeds_transaction_limit",
    "expired_payment_method",
    "invalid_source_usage",
    "payment_intent_authentication_failure",
    "payment_intent_incompatible_payment_method",
    "payment_method_billing_details_address_missing",
    "payment_method_currency_mismatch",
    "payment_method_customer_decline",
    "payment_method_invalid_parameter",
    "payment_method_not_available",
    "payment_method_provider_decline",
    "payment_method_restricted",
    "payment_method_unexpected_state",
    "payment_method_unsupported_type",
    "token_already_used",
    "token_in_use",
}
_AMOUNT_ERRORS = {AMOUNT_TOO_SMALL, "amount_too_large", "invalid_charge_amount"}
# Decline codes that a card holder must not learn, such as a stolen card.
_CONCEALED_DECLINES = {
    "generic_decline",
    "fraudulent",
    "lost_card",
    "stolen_card",
    "pickup_card",
    "merchant_blacklist",
    "security_violation",
}


def to_stripe(money: Money) -> int:
    """Return an amount in Stripe's units.

    Raises:
        ProviderRefused: amount_invalid, if it is not positive or not a multiple of Stripe's unit.
    """
    if money.amount <= 0 or money.amount % charge_step(money.currency):
        raise ProviderRefused(Contradiction.AMOUNT_INVALID)
    return money.amount * _unit(money.currency) // unit(money.currency)


def from_stripe(amount: int, currency: str) -> Money:
    """Return an amount in Stripe's units as Money."""
    code = currency.upper()
    return Money(amount * unit(code) // _unit(code), code)


def decline_code(code: str | None, detail: str | None) -> str:
    """Return the decline code for the customer: the card's reason unless it is concealed, or else Stripe's code."""
    return detail if detail and detail not in _CONCEALED_DECLINES else code or "card_declined"


def customer_decline_code(code: str | None, param: str | None) -> str | None:
    """Return the decline code of Stripe's 400 at a confirmation that another payment method can solve; None for another error.

    The PaymentMethod is the only parameter that comes from the customer. Stripe refuses a used or detached one without a code.
    """
    if code in _CUSTOMER_ERRORS | _AMOUNT_ERRORS:
        return code
    about_method = param is not None and param.partition("[")[0] == "payment_method"
    about_nothing = code is None and param is None
    return INVALID_TOKEN if about_nothing or (about_method and code in {None, "resource_missing"}) else None


def amount_decline_code(code: str | None) -> str | None:
    """Return the decline code of an amount that Stripe refuses; None for another refusal."""
    return code if code in _AMOUNT_ERRORS else None


def is_known(kind: Kind, status: str | None) -> bool:
    """Return whether Stripe documents the status of the object."""
    return status in _KNOWN_STATUSES[kind]


def dispute_state(dispute: StripeDispute) -> DisputeState | None:
    """Return the state of a dispute, None if no amount is disputed, as in an inquiry.

    Withdrawals decide where the status does not: with an unknown status the dispute is open, for an inquiry or a prevented
    dispute it is lost.
    """
    withdrawn = sum(one.amount for one in dispute.balance_transactions) < 0
    if not is_known("dispute", dispute.status):
        return "open" if withdrawn else None
    return _DISPUTE_STATUSES[dispute.status] or ("lost" if withdrawn else None)


def disputed_at(dispute: StripeDispute) -> datetime | None:
    """Return when (UTC) the bank withdrew the money; for an inquiry that became a dispute, this is later than Stripe's `created`."""
    withdrawn = [one.created for one in dispute.balance_transactions if one.amount < 0 and one.created]
    seconds = min(withdrawn, default=dispute.created)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def to_refund(refund: StripeRefund) -> Refund:
    """Return the refund of a Stripe refund. An unknown status counts as pending, so that no customer is notified too early."""
    status = _REFUND_STATUSES.get(refund.status or "", "pending")
    reason = (refund.failure_reason or refund.status or "") if status == "failed" else ""
    key, amount = refund.metadata.get(REFUND_KEY, MANUAL), from_stripe(refund.amount, refund.currency)
    return Refund(key, refund.id, amount, status, reason)


def capture_metadata_name(key: str) -> str:
    """Return the name of the capture of this key in an intent's metadata."""
    return _CAPTURE + hashlib.sha256(key.encode()).hexdigest()[:24]


def capture_metadata(intent: PaymentIntent, key: str, amount: Money) -> dict[str, str]:
    """Return the metadata of a capture, for the request that captures."""
    return {capture_metadata_name(key): f"{len(_recorded_captures(intent)) + 1} {amount.amount} {key}"}


def to_payment(intent: PaymentIntent, refunds: list[StripeRefund]) -> Payment | None:
    """Return the payment of an intent; None while nothing was authorized or declined."""
    match intent.status:
        case "requires_capture":
            return Authorized(intent.id, from_stripe(intent.amount, intent.currency), captures=_captures(intent), refunds=_refunds(refunds))
        case "succeeded" if intent.amount_received == intent.amount:
            return Authorized(intent.id, from_stripe(intent.amount, intent.currency), captures=_captures(intent), refunds=_refunds(refunds))
        case "succeeded" | "canceled":
            authorization_id = intent.id if intent.latest_charge else None
            return Voided(authorization_id, captures=_captures(intent), refunds=_refunds(refunds))
        case _:
            return _declined_payment(intent)


def supports_multicapture(intent: PaymentIntent) -> bool:
    """Return whether the card supports several partial captures."""
    charge = intent.latest_charge
    details = charge.payment_method_details if isinstance(charge, Charge) else None
    card = details.card if details else None
    return card is not None and card.multicapture is not None and card.multicapture.status == "available"


def _declined_payment(intent: PaymentIntent) -> Declined | None:
    if DECLINED in intent.metadata:
        return Declined(intent.metadata[DECLINED])
    if intent.last_payment_error:
        return Declined(decline_code(intent.last_payment_error.code, intent.last_payment_error.decline_code))
    return Declined(_NEEDS_AUTHENTICATION) if intent.status == "requires_action" else None


def _captures(intent: PaymentIntent) -> tuple[Capture, ...]:
    marked = tuple(capture for _, capture in sorted(_recorded_captures(intent), key=lambda one: one[0]))
    received = from_stripe(intent.amount_received, intent.currency)
    rest = received.amount - sum(capture.amount.amount for capture in marked)
    return (*marked, Capture(MANUAL, intent.id, Money(rest, received.currency))) if rest > 0 else marked


def _recorded_captures(intent: PaymentIntent) -> list[tuple[int, Capture]]:
    found: list[tuple[int, Capture]] = []
    for name, value in intent.metadata.items():
        if name.startswith(_CAPTURE):
            number, amount, key = value.split(" ", 2)
            found.append((int(number), Capture(key, f"{intent.id}/{name}", Money(int(amount), intent.currency.upper()))))
    return found


def _refunds(refunds: list[StripeRefund]) -> tuple[Refund, ...]:
    """Return the refunds, oldest first; Stripe lists the newest first."""
    return tuple(to_refund(refund) for refund in reversed(refunds) if REFUND_KEY in refund.metadata or refund.balance_transaction)


def _unit(currency: str) -> int:
    return _STRIPE_UNITS.get(currency, unit(currency))
