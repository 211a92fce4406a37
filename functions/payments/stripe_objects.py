"""What Stripe's objects mean to the pipeline, and the other way round. Neither Stripe's SDK nor AWS, no clock.

A PaymentIntent is made before anything is held, with our key in its metadata. Each capture leaves its own key
there, in the same request that takes the money, and each refund carries its key itself: so what moved is known
under our keys for as long as Stripe keeps the payment.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct

from orderflow.money import Money, charge_step, unit
from payments.provider import Authorized, Capture, Contradiction, Declined, Payment, ProviderRefused, Refund, Voided

PAYMENT_KEY = "payment_key"
REFUND_KEY = "refund_key"
DECLINED = "declined"
INVALID_TOKEN = "invalid_token"  # noqa: S105 - the code of a decline
# The key of money that moved without us: captured or refunded by hand, on Stripe's pages.
BY_HAND = "by_hand"

_CAPTURE = "capture_"
_NEEDS_PERSON = "authentication_required"
# Stripe's smallest unit is ISO's minor unit but for these: how many there are in a whole unit.
_UNITS = {"UGX": 100, "ISK": 100, "MGA": 1}
# Nobody tells the holder of a stolen card that it is known to be stolen.
_UNTOLD = {"generic_decline", "fraudulent", "lost_card", "stolen_card", "pickup_card", "merchant_blacklist", "security_violation"}


class Feature(Struct, frozen=True):
    """Whether a card can do something: `available` or `unavailable`."""

    status: str


class Card(Struct, frozen=True):
    """What a card can do."""

    multicapture: Feature | None = None


class Details(Struct, frozen=True):
    """The means of payment of a charge."""

    card: Card | None = None


class Charge(Struct, frozen=True):
    """The attempt to hold the amount."""

    id: str
    payment_method_details: Details | None = None


class Refusal(Struct, frozen=True):
    """Why the last attempt was declined."""

    code: str | None = None
    decline_code: str | None = None


class Intent(Struct, frozen=True):
    """A PaymentIntent. Amounts are in Stripe's units, the currency is in lower case."""

    id: str
    status: str
    amount: int
    currency: str
    amount_received: int = 0
    metadata: dict[str, str] = {}
    latest_charge: Charge | str | None = None
    last_payment_error: Refusal | None = None


class StripeRefund(Struct, frozen=True):
    """A Refund; without a balance transaction it may be what Stripe makes of an amount that was held and not captured."""

    id: str
    amount: int
    currency: str
    status: str | None = None
    metadata: dict[str, str] = {}
    balance_transaction: str | None = None


def to_stripe(money: Money) -> int:
    """Return an amount in Stripe's units.

    Raises:
        ProviderRefused: amount_invalid, for one that is not positive or that Stripe cannot express.
    """
    if money.amount <= 0 or money.amount % charge_step(money.currency):
        raise ProviderRefused(Contradiction.AMOUNT_INVALID)
    return money.amount * _unit(money.currency) // unit(money.currency)


def from_stripe(amount: int, currency: str) -> Money:
    """Return an amount of Stripe's as ours."""
    code = currency.upper()
    return Money(amount * unit(code) // _unit(code), code)


def decline_code(code: str | None, detail: str | None) -> str:
    """Return why a payment was declined, as far as the customer may know: the card's reason, or else Stripe's code."""
    return detail if detail and detail not in _UNTOLD else code or "card_declined"


def capture_name(key: str) -> str:
    """Return the name under which an intent's metadata remember the capture of that key."""
    return _CAPTURE + hashlib.sha256(key.encode()).hexdigest()[:24]


def capture_mark(intent: Intent, key: str, amount: Money) -> dict[str, str]:
    """Return what the metadata shall say of a capture; it goes into the request that captures."""
    return {capture_name(key): f"{len(_marked(intent)) + 1} {amount.amount} {key}"}


def payment_of(intent: Intent, refunds: list[StripeRefund]) -> Payment | None:
    """Return the payment that an intent stands for; None while nothing was held or declined."""
    match intent.status:
        case "requires_capture":
            return Authorized(intent.id, from_stripe(intent.amount, intent.currency), captures=_captures(intent), refunds=_refunds(refunds))
        case "succeeded" if intent.amount_received == intent.amount:
            return Authorized(intent.id, from_stripe(intent.amount, intent.currency), captures=_captures(intent), refunds=_refunds(refunds))
        case "succeeded" | "canceled":
            held = intent.id if intent.latest_charge else None
            return Voided(held, captures=_captures(intent), refunds=_refunds(refunds))
        case _:
            return _not_held(intent)


def several_captures(intent: Intent) -> bool:
    """Tell whether the card lets an amount be captured in parts."""
    charge = intent.latest_charge
    details = charge.payment_method_details if isinstance(charge, Charge) else None
    card = details.card if details else None
    return card is not None and card.multicapture is not None and card.multicapture.status == "available"


def _not_held(intent: Intent) -> Declined | None:
    if DECLINED in intent.metadata:
        return Declined(intent.metadata[DECLINED])
    if intent.last_payment_error:
        return Declined(decline_code(intent.last_payment_error.code, intent.last_payment_error.decline_code))
    return Declined(_NEEDS_PERSON) if intent.status == "requires_action" else None


def _captures(intent: Intent) -> tuple[Capture, ...]:
    marked = tuple(capture for _, capture in sorted(_marked(intent), key=lambda one: one[0]))
    received = from_stripe(intent.amount_received, intent.currency)
    rest = received.amount - sum(capture.amount.amount for capture in marked)
    return (*marked, Capture(BY_HAND, intent.id, Money(rest, received.currency))) if rest > 0 else marked


def _marked(intent: Intent) -> list[tuple[int, Capture]]:
    found: list[tuple[int, Capture]] = []
    for name, value in intent.metadata.items():
        if name.startswith(_CAPTURE):
            number, amount, key = value.split(" ", 2)
            found.append((int(number), Capture(key, f"{intent.id}/{name}", Money(int(amount), intent.currency.upper()))))
    return found


def _refunds(refunds: list[StripeRefund]) -> tuple[Refund, ...]:
    """Return the refunds, oldest first; Stripe lists the newest first."""
    return tuple(
        Refund(refund.metadata.get(REFUND_KEY, BY_HAND), refund.id, from_stripe(refund.amount, refund.currency))
        for refund in reversed(refunds)
        if refund.status not in {"failed", "canceled"} and (REFUND_KEY in refund.metadata or refund.balance_transaction)
    )


def _unit(currency: str) -> int:
    return _UNITS.get(currency, unit(currency))
