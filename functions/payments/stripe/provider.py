"""The payment provider Stripe: one PaymentIntent per payment, captured manually, through Stripe's SDK.

A table stores the intent of each payment before the intent is confirmed. An intent whose id was lost is never confirmed,
so it authorizes nothing. So a payment can always be looked up, also after Stripe deleted the idempotency key, which it
does after a day.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from orderflow.aws.observability import logger
from payments.domain import webhook_events
from payments.domain.minimums import AMOUNT_INVALID, AMOUNT_TOO_SMALL
from payments.provider import (
    Authorized,
    Capture,
    Contradiction,
    Declined,
    Movements,
    Payment,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
    Refund,
    Voided,
)
from payments.stripe.connection import CardDeclined, NotAccepted, StripeConnection
from payments.stripe.dispute_events import dispute_events
from payments.stripe.mapping import DECLINED, amount_decline_code, customer_decline_code, to_stripe
from payments.stripe.payment_intents import PaymentIntents
from payments.stripe.payment_records import PaymentRecord, PaymentRecords
from payments.stripe.sdk_objects import alert_if_unknown, to_stripe_dispute
from payments.stripe.webhook_events import StripeEvent, parse_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    import stripe
    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.domain.money import Money
    from payments.stripe.objects import PaymentIntent


class StripeProvider:
    """A PaymentProvider that uses Stripe."""

    def __init__(self, connect: Callable[[], stripe.StripeClient], table: str, client: DynamoDBClient) -> None:
        """Store intents in the table named `table`; `connect` is called at the first request and after a refused key."""
        self._stripe = StripeConnection(connect)
        self._intents = PaymentIntents(self._stripe, pipeline=table)
        self._records = PaymentRecords(table, client)

    def authorize(self, key: str, token: str, amount: Money) -> Payment:
        """Authorize `amount`, see PaymentProvider.authorize; `token` names a PaymentMethod."""
        request = hashlib.sha256("\0".join((token, str(amount.amount), amount.currency)).encode()).hexdigest()
        if amount.amount < 0:
            raise ProviderRefused(Contradiction.AMOUNT_INVALID)
        record = self._records.read(key)
        is_new = record is None
        if record is None:
            record = self._create_intent(key, request, amount)
        if not record.intent and not record.declined:
            return Voided()
        if record.request != request:
            raise ProviderRefused(Contradiction.KEY_REUSED)
        if record.declined:
            return Declined(record.declined)
        known = None if is_new else self._payment(record.intent)
        return known or self._confirm(record.intent, token)

    def capture(self, payment_key: str, key: str, amount: Money) -> Capture:
        """Capture a part of the payment, see PaymentProvider.capture."""
        intent, payment = self._require_payment(payment_key)
        for capture in payment.captures:
            if capture.key == key:
                return _require_same_amount(capture, amount)
        if not isinstance(payment, Authorized):
            raise ProviderRefused(Contradiction.NOT_AUTHORIZED)
        _validate_amount(amount, payment.amount.currency, payment.amount.amount - payment.captured)
        after = self._intents.capture(intent, key, amount, final=payment.captured + amount.amount == payment.amount.amount)
        return next(one for one in getattr(after, "captures", ()) if one.key == key)

    def void(self, payment_key: str) -> Payment:
        """Void the payment, see PaymentProvider.void."""
        record = self._records.read(payment_key) or self._records.put(payment_key, PaymentRecord())
        if not record.intent:
            return record.payment_without_intent
        intent, payment = self._intents.read(record.intent)
        match payment:
            case Authorized(amount=amount) if payment.captures and payment.captured < amount.amount:
                return self._void_with(self._intents.release_rest, intent.id)
            case None | Authorized(captures=()):
                return self._void_with(self._intents.cancel, intent.id)
            case _:
                return payment

    def refund(self, payment_key: str, key: str, amount: Money) -> Refund:
        """Refund a part of the payment, see PaymentProvider.refund."""
        intent, payment = self._require_payment(payment_key)
        for refund in payment.refunds:
            if refund.key == key:
                return _require_same_amount(refund, amount)
        _validate_amount(amount, intent.currency.upper(), payment.refundable)
        return self._intents.refund(intent.id, payment_key, key, amount)

    def look_up(self, payment_key: str) -> Payment | None:
        """Return the current payment, see PaymentProvider.look_up."""
        record = self._records.read(payment_key)
        if record is None:
            return None
        return self._payment(record.intent) if record.intent else record.payment_without_intent

    def disputes(self, payment_key: str) -> list[webhook_events.WebhookEvent]:
        """Return the payment's disputes at Stripe, see PaymentProvider.disputes."""
        record = self._records.read(payment_key)
        if record is None or not record.intent:
            return []
        now = datetime.now(UTC)
        with self._stripe.translated_errors(effect=False):
            page = self._stripe.api.disputes.list({"payment_intent": record.intent, "limit": 100})
            found = [to_stripe_dispute(one) for one in page.auto_paging_iter()]
        return [event for one in found for event in dispute_events(one, f"{one.id}:{one.status}", payment_key, now)]

    def recent(self, day: date) -> Iterator[str]:
        """Return the keys of a day's payments, see PaymentProvider.recent."""
        return self._intents.keys_of_day(day)

    def parse_webhook(self, body: str) -> list[webhook_events.WebhookEvent]:
        """Return the webhook events of a Stripe event, see PaymentProvider.parse_webhook.

        Stripe reports only the sum of all captures, so all current captures are returned. A dispute is returned with its
        current status, because Stripe's events may arrive late and out of order.
        """
        parsed = parse_event(msgspec.json.decode(body, type=StripeEvent))
        payment_key = self.key_of(parsed.authorization_id) if parsed else None
        if parsed is None or payment_key is None:
            logger.info("foreign_payment_ignored", event=parsed and parsed.message_id)
            return []
        ids = (parsed.message_id, payment_key)
        match parsed.type:
            case "payment.captured":
                return [webhook_events.Captured(*ids, capture.capture_id) for capture in self._captures(payment_key)]
            case "payment.refunded":
                return [webhook_events.Refunded(*ids, parsed.reason)]
            case "refund.failed":
                return [webhook_events.RefundFailed(*ids, parsed.reason)]
            case "refund.pending":
                alert_if_unknown("refund", parsed.reference, parsed.status)
                logger.info("refund_pending", refund_id=parsed.reference)
                return []
            case "dispute":
                return self._current_dispute(parsed.reference, *ids)
            case "authorization.expired":
                return [webhook_events.Expired(*ids)]

    def key_of(self, authorization_id: str) -> str | None:
        """Return the payment key of a PaymentIntent, or None for an intent of another system.

        Raises:
            ProviderUnavailable: Stripe did not answer.
        """
        return self._intents.key_of(authorization_id)

    def _captures(self, payment_key: str) -> tuple[Capture, ...]:
        payment = self.look_up(payment_key)
        return payment.captures if isinstance(payment, Movements) else ()

    def _current_dispute(self, dispute_id: str, message_id: str, payment_key: str) -> list[webhook_events.WebhookEvent]:
        now = datetime.now(UTC)
        with self._stripe.translated_errors(effect=False):
            dispute = to_stripe_dispute(self._stripe.api.disputes.retrieve(dispute_id))
        return dispute_events(dispute, message_id, payment_key, now)

    def _create_intent(self, key: str, request: str, amount: Money) -> PaymentRecord:
        """Create an unconfirmed intent and store it; return the stored record, which may be a concurrent one.

        An amount that Stripe does not accept is stored as declined.
        """
        try:
            units = to_stripe(amount)
        except ProviderRefused:
            return self._records.put(key, PaymentRecord("", request, AMOUNT_INVALID if amount.amount else AMOUNT_TOO_SMALL))
        try:
            intent_id = self._intents.create(key, units, amount.currency)
        except NotAccepted as refused:
            if code := amount_decline_code(refused.reason):
                return self._records.put(key, PaymentRecord("", request, code))
            raise
        return self._records.put(key, PaymentRecord(intent_id, request))

    def _confirm(self, intent_id: str, token: str) -> Payment:
        """Confirm a stored intent, which authorizes its amount. Stripe confirms an intent once, also under concurrency."""
        try:
            return _require_known(self._intents.confirm(intent_id, token))
        except CardDeclined as declined:
            return Declined(declined.code)
        except NotAccepted as refused:
            if refused.code == Contradiction.NOT_AUTHORIZED:
                return _require_known(self._payment(intent_id))
            code = customer_decline_code(refused.reason, refused.param)
            if code is None:
                raise
            self._intents.set_metadata(intent_id, DECLINED, code)
            return Declined(code)

    def _void_with(self, request: Callable[[str], None], intent_id: str) -> Payment:
        """Void an intent with this request; if it changed concurrently, raise ProviderUnavailable, so that a retry sees the new state."""
        try:
            request(intent_id)
        except ProviderRefused as refused:
            raise ProviderUnavailable from refused
        return _require_known(self._payment(intent_id))

    def _require_payment(self, payment_key: str) -> tuple[PaymentIntent, Authorized | Voided]:
        record = self._records.read(payment_key)
        if record is None or not record.intent:
            raise ProviderRefused(Contradiction.NOT_AUTHORIZED if record else Contradiction.UNKNOWN_PAYMENT)
        intent, payment = self._intents.read(record.intent)
        if payment is None:
            raise ProviderRefused(Contradiction.UNKNOWN_PAYMENT)
        if isinstance(payment, Declined):
            raise ProviderRefused(Contradiction.NOT_AUTHORIZED)
        return intent, payment

    def _payment(self, intent_id: str) -> Payment | None:
        return self._intents.read(intent_id)[1]


def _require_known(payment: Payment | None) -> Payment:
    if payment is None:
        raise ProviderTimeout
    return payment


def _require_same_amount[T: Capture | Refund](known: T, amount: Money) -> T:
    if known.amount != amount:
        raise ProviderRefused(Contradiction.KEY_REUSED)
    return known


def _validate_amount(amount: Money, currency: str, most: int) -> None:
    if amount.currency != currency:
        raise ProviderRefused(Contradiction.CURRENCY_MISMATCH)
    if amount.amount <= 0:
        raise ProviderRefused(Contradiction.AMOUNT_INVALID)
    if amount.amount > most:
        raise ProviderRefused(Contradiction.AMOUNT_EXCEEDED)
