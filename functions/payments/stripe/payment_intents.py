"""Stripe's PaymentIntents of this pipeline: creating, confirming, capturing, releasing, refunding and reading them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Any

from payments.provider import Payment, ProviderRefused, Refund
from payments.stripe.mapping import PAYMENT_KEY, REFUND_KEY, capture_metadata, supports_multicapture, to_payment, to_refund, to_stripe
from payments.stripe.sdk_objects import to_intent, to_stripe_refund

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from orderflow.domain.money import Money
    from payments.stripe.connection import StripeConnection
    from payments.stripe.objects import PaymentIntent, StripeRefund

# https://docs.stripe.com/api/idempotent_requests
_MAX_KEY_LENGTH = 255
_PIPELINE = "pipeline"
# Events about refunds and disputes, which happen after the payment.
_LATER_EVENTS = [
    *(f"refund.{what}" for what in ("created", "updated", "failed")),
    *(f"charge.dispute.{what}" for what in ("created", "updated", "closed", "funds_withdrawn", "funds_reinstated")),
]


class PaymentIntents:
    """The PaymentIntents of one pipeline. Every method raises as `StripeConnection.translated_errors`."""

    def __init__(self, connection: StripeConnection, pipeline: str) -> None:
        """Use this connection. `pipeline` marks the intents, because one Stripe account may serve several pipelines."""
        self._stripe = connection
        self._pipeline = pipeline

    def create(self, payment_key: str, units: int, currency: str) -> str:
        """Create an unconfirmed intent of `units` (Stripe's) and return its id."""
        with self._stripe.translated_errors():
            intent = self._stripe.api.payment_intents.create(
                {
                    "amount": units,
                    "currency": currency.lower(),
                    "capture_method": "manual",
                    "allowed_payment_method_types": ["card"],
                    "payment_method_options": {"card": {"request_multicapture": "if_available"}},
                    "metadata": {PAYMENT_KEY: payment_key, _PIPELINE: self._pipeline},
                },
                {"idempotency_key": self._idempotency_key(payment_key)},
            )
        return intent.id

    def confirm(self, intent_id: str, token: str) -> Payment | None:
        """Confirm an intent with a PaymentMethod, which authorizes its amount, and return the payment."""
        with self._stripe.translated_errors():
            confirmed = self._stripe.api.payment_intents.confirm(
                intent_id, {"payment_method": token, "off_session": True, "expand": ["latest_charge"]}
            )
        return to_payment(to_intent(confirmed), [])

    def set_metadata(self, intent_id: str, name: str, value: str) -> None:
        """Store a value in the metadata of an intent."""
        with self._stripe.translated_errors():
            self._stripe.api.payment_intents.update(intent_id, {"metadata": {name: value}})

    def capture(self, intent: PaymentIntent, key: str, amount: Money, *, final: bool) -> Payment | None:
        """Capture a part of the amount, and return the payment; `final` releases the rest, as do cards without partial captures."""
        with self._stripe.translated_errors():
            captured = self._stripe.api.payment_intents.capture(
                intent.id,
                {
                    "amount_to_capture": to_stripe(amount),
                    "metadata": capture_metadata(intent, key, amount),
                    "expand": ["latest_charge"],
                    "final_capture": final or not supports_multicapture(intent),
                },
                {"idempotency_key": self._idempotency_key(key)},
            )
        return to_payment(to_intent(captured), [])

    def cancel(self, intent_id: str) -> None:
        """Cancel an intent of which nothing was captured."""
        with self._stripe.translated_errors():
            self._stripe.api.payment_intents.cancel(intent_id)

    def release_rest(self, intent_id: str) -> None:
        """Release the amount of a partly captured intent that was not captured."""
        with self._stripe.translated_errors():
            self._stripe.api.payment_intents.capture(intent_id, {"amount_to_capture": 0, "final_capture": True})

    def refund(self, intent_id: str, payment_key: str, key: str, amount: Money) -> Refund:
        """Refund an amount under the idempotency key `key`."""
        with self._stripe.translated_errors():
            given = self._stripe.api.refunds.create(
                {"payment_intent": intent_id, "amount": to_stripe(amount), "metadata": {PAYMENT_KEY: payment_key, REFUND_KEY: key}},
                {"idempotency_key": self._idempotency_key(key)},
            )
        return to_refund(to_stripe_refund(given))

    def read(self, intent_id: str) -> tuple[PaymentIntent, Payment | None]:
        """Return an intent and its payment with all refunds; the payment is None while nothing was authorized or declined."""
        with self._stripe.translated_errors(effect=False):
            intent = to_intent(self._stripe.api.payment_intents.retrieve(intent_id, {"expand": ["latest_charge"]}))
            refunds: list[StripeRefund] = []
            if intent.amount_received:
                listed = self._stripe.api.refunds.list({"payment_intent": intent_id, "limit": 100})
                refunds = [to_stripe_refund(refund) for refund in listed.auto_paging_iter()]
        return intent, to_payment(intent, refunds)

    def key_of(self, intent_id: str) -> str | None:
        """Return the payment key of an intent, or None for an intent of another system."""
        try:
            with self._stripe.translated_errors(effect=False):
                intent = to_intent(self._stripe.api.payment_intents.retrieve(intent_id))
        except ProviderRefused:
            return None
        return intent.metadata.get(PAYMENT_KEY) if intent.metadata.get(_PIPELINE) == self._pipeline else None

    def keys_of_day(self, day: date) -> Iterator[str]:
        """Yield the keys of the payments that were created, refunded or disputed on a day (UTC)."""
        start = datetime.combine(day, time_of_day(), UTC)
        end = start + timedelta(days=1)
        created: Any = {"gte": int(start.timestamp()), "lt": int(end.timestamp())}
        with self._stripe.translated_errors(effect=False):
            intents = self._stripe.api.payment_intents.list({"created": created, "limit": 100})
            for intent in map(to_intent, intents.auto_paging_iter()):
                if intent.metadata.get(_PIPELINE) == self._pipeline:
                    yield intent.metadata[PAYMENT_KEY]
            events = self._stripe.api.events.list({"created": created, "types": _LATER_EVENTS, "limit": 100})
            later: set[str | None] = {event.to_dict()["data"]["object"].get("payment_intent") for event in events.auto_paging_iter()}
        for intent_id in sorted(one for one in later if one):
            if key := self.key_of(intent_id):
                yield key

    def _idempotency_key(self, key: str) -> str:
        """Return Stripe's idempotency key, a header of at most 255 ASCII characters; a longer or other key is hashed."""
        own = f"{self._pipeline}:{key}"
        fits = own.isascii() and own.isprintable() and len(own) <= _MAX_KEY_LENGTH
        return own if fits else f"{self._pipeline}:{hashlib.sha256(key.encode()).hexdigest()}"
