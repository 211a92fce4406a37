"""Stripe's objects, with the fields that this pipeline uses (https://docs.stripe.com/api). Amounts are in Stripe's units."""

from __future__ import annotations

from msgspec import Struct


class Feature(Struct, frozen=True):
    """Whether a card can do something: `available` or `unavailable`."""

    status: str


class Card(Struct, frozen=True):
    """A card's features."""

    multicapture: Feature | None = None


class PaymentMethodDetails(Struct, frozen=True):
    """The payment method of a charge."""

    card: Card | None = None


class Charge(Struct, frozen=True):
    """The attempt to authorize the amount."""

    id: str
    payment_method_details: PaymentMethodDetails | None = None


class PaymentError(Struct, frozen=True):
    """Why the last attempt was declined."""

    code: str | None = None
    decline_code: str | None = None


class PaymentIntent(Struct, frozen=True):
    """A PaymentIntent. Amounts are in Stripe's units, the currency is in lower case."""

    id: str
    status: str
    amount: int
    currency: str
    amount_received: int = 0
    metadata: dict[str, str] = {}
    latest_charge: Charge | str | None = None
    last_payment_error: PaymentError | None = None


class StripeRefund(Struct, frozen=True):
    """A Refund; without a balance transaction it may be the release of an uncaptured amount."""

    id: str
    amount: int
    currency: str
    status: str | None = None
    metadata: dict[str, str] = {}
    balance_transaction: str | None = None
    failure_reason: str | None = None


class BalanceTransaction(Struct, frozen=True):
    """A change of the account's balance at Stripe, `created` in Unix seconds; a negative amount was withdrawn."""

    amount: int
    created: int | None = None


class StripeDispute(Struct, frozen=True):
    """A Dispute; `balance_transactions` are its withdrawals and reinstatements."""

    id: str
    amount: int
    currency: str
    status: str
    payment_intent: str | None = None
    reason: str | None = None
    balance_transactions: list[BalanceTransaction] = []
    created: int | None = None
