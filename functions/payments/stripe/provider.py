"""The payment provider Stripe: one PaymentIntent per payment, captured manually, through Stripe's SDK.

A table stores the intent of each payment before the intent is confirmed, so it cannot authorize anything before.
An intent whose id was lost is never confirmed. So a payment can always be looked up, also after Stripe
deleted the idempotency key, which it does after a day.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Any

import msgspec
import stripe
from botocore.exceptions import HTTPClientError
from msgspec import Struct

from orderflow.aws import dynamodb
from orderflow.aws.observability import logger
from payments import operator_alerts
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
from payments.stripe.mapping import (
    DECLINED,
    PAYMENT_KEY,
    REFUND_KEY,
    Kind,
    PaymentIntent,
    StripeDispute,
    StripeRefund,
    amount_decline_code,
    capture_metadata,
    customer_decline_code,
    decline_code,
    dispute_state,
    disputed_at,
    from_stripe,
    is_known,
    supports_multicapture,
    to_payment,
    to_refund,
    to_stripe,
)
from payments.stripe.webhook_events import StripeEvent, parse_event

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from datetime import date

    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.domain.money import Money

# Seconds to connect and to wait for an answer. The retry covers an idle connection that was closed.
_TIMEOUT = (1.0, 4.0)
_RETRIES = 1
# https://docs.stripe.com/api/idempotent_requests
_MAX_KEY_LENGTH = 255
# One Stripe account may serve several stacks; the table's name identifies the stack.
_PIPELINE = "pipeline"
_CONTRADICTIONS = {
    "payment_intent_unexpected_state": Contradiction.NOT_AUTHORIZED,
    "resource_missing": Contradiction.UNKNOWN_PAYMENT,
    "amount_too_large": Contradiction.AMOUNT_INVALID,
    "amount_too_small": Contradiction.AMOUNT_INVALID,
    "parameter_invalid_integer": Contradiction.AMOUNT_INVALID,
    "charge_already_refunded": Contradiction.AMOUNT_EXCEEDED,
}


# Events about refunds and disputes, which happen after the payment.
_LATER_EVENTS = [
    *(f"refund.{what}" for what in ("created", "updated", "failed")),
    *(f"charge.dispute.{what}" for what in ("created", "updated", "closed", "funds_withdrawn", "funds_reinstated")),
]


class PaymentRecord(Struct, frozen=True):
    """The stored payment: its intent and a digest of the request, both empty for a payment voided before it began.

    `declined` is the decline code of an amount that Stripe does not accept.
    """

    intent: str = ""
    request: str = ""
    declined: str = ""


def create_client(key: str, base: str, http: stripe.HTTPClient | None = None) -> stripe.StripeClient:
    """Return a Stripe client with this secret key and API address."""
    transport = http or stripe.RequestsClient(timeout=_TIMEOUT)
    return stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=_RETRIES, http_client=transport)


class StripeProvider:
    """A PaymentProvider that uses Stripe."""

    def __init__(self, connect: Callable[[], stripe.StripeClient], table: str, client: DynamoDBClient) -> None:
        """Store intents in the table named `table`; `connect` is called at the first request and after a refused key."""
        self._connect = connect
        self._connection: stripe.StripeClient | None = None
        self._table = table
        self._client = client

    def authorize(self, key: str, token: str, amount: Money) -> Payment:
        """Authorize `amount`, see PaymentProvider.authorize; `token` names a PaymentMethod."""
        request = hashlib.sha256("\0".join((token, str(amount.amount), amount.currency)).encode()).hexdigest()
        if amount.amount < 0:
            raise ProviderRefused(Contradiction.AMOUNT_INVALID)
        row = self._read(key)
        began = row is None
        if row is None:
            row = self._create_intent(key, request, amount)
        if not row.intent and not row.declined:
            return Voided()
        if row.request != request:
            raise ProviderRefused(Contradiction.KEY_REUSED)
        if row.declined:
            return Declined(row.declined)
        known = None if began else self._payment(row.intent)
        return known or self._confirm(row.intent, token)

    def capture(self, payment_key: str, key: str, amount: Money) -> Capture:
        """Capture a part of the payment, see PaymentProvider.capture."""
        intent, payment = self._require_payment(payment_key)
        for capture in payment.captures:
            if capture.key == key:
                return _require_same_amount(capture, amount)
        if not isinstance(payment, Authorized):
            raise ProviderRefused(Contradiction.NOT_AUTHORIZED)
        _check(amount, payment.amount.currency, payment.amount.amount - payment.captured)
        after = self._capture(intent, key, amount, final=payment.captured + amount.amount == payment.amount.amount)
        taken = to_payment(after, [])
        return next(one for one in getattr(taken, "captures", ()) if one.key == key)

    def void(self, payment_key: str) -> Payment:
        """Void the payment, see PaymentProvider.void."""
        row = self._read(payment_key) or self._put(payment_key, PaymentRecord())
        if not row.intent:
            return _without_intent(row)
        intent, payment = self._retrieve(row.intent)
        match payment:
            case Authorized(amount=amount) if not payment.captures:
                return self._release(intent, release=False)
            case Authorized(amount=amount) if payment.captured < amount.amount:
                return self._release(intent, release=True)
            case None:
                return self._release(intent, release=False)
            case _:
                return payment

    def refund(self, payment_key: str, key: str, amount: Money) -> Refund:
        """Refund a part of the payment, see PaymentProvider.refund."""
        intent, payment = self._require_payment(payment_key)
        for refund in payment.refunds:
            if refund.key == key:
                return _require_same_amount(refund, amount)
        _check(amount, intent.currency.upper(), payment.refundable)
        with self._translated_errors():
            given = self._api.refunds.create(
                {
                    "payment_intent": intent.id,
                    "amount": to_stripe(amount),
                    "metadata": {PAYMENT_KEY: payment_key, REFUND_KEY: key},
                },
                {"idempotency_key": self._idempotency_key(key)},
            )
        return to_refund(_refund(given))

    def look_up(self, payment_key: str) -> Payment | None:
        """Return the current payment, see PaymentProvider.look_up."""
        row = self._read(payment_key)
        if row is None:
            return None
        return self._payment(row.intent) if row.intent else _without_intent(row)

    def disputes(self, payment_key: str) -> list[webhook_events.WebhookEvent]:
        """Return the payment's disputes at Stripe, see PaymentProvider.disputes."""
        row = self._read(payment_key)
        if row is None or not row.intent:
            return []
        now = datetime.now(UTC)
        with self._translated_errors(effect=False):
            page = self._api.disputes.list({"payment_intent": row.intent, "limit": 100})
            found = [_dispute(one) for one in page.auto_paging_iter()]
        return [event for one in found for event in _dispute_events(one, (f"{one.id}:{one.status}", payment_key), now)]

    def recent(self, day: date) -> Iterator[str]:
        """Return the keys of a day's payments, see PaymentProvider.recent."""
        start = datetime.combine(day, time_of_day(), UTC)
        end = start + timedelta(days=1)
        created: Any = {"gte": int(start.timestamp()), "lt": int(end.timestamp())}
        with self._translated_errors(effect=False):
            intents = self._api.payment_intents.list({"created": created, "limit": 100})
            for intent in map(_intent, intents.auto_paging_iter()):
                if intent.metadata.get(_PIPELINE) == self._table:
                    yield intent.metadata[PAYMENT_KEY]
            events = self._api.events.list({"created": created, "types": _LATER_EVENTS, "limit": 100})
            later: set[str | None] = {event.to_dict()["data"]["object"].get("payment_intent") for event in events.auto_paging_iter()}
        for intent_id in sorted(one for one in later if one):
            if key := self.key_of(intent_id):
                yield key

    def parse_webhook(self, body: str) -> list[webhook_events.WebhookEvent]:
        """Return the webhook events of a Stripe event, see PaymentProvider.parse_webhook.

        Stripe reports only the sum of all captures, so all current captures are returned. A dispute is returned with its
        current status, because Stripe's events may arrive late and out of order.
        """
        parsed = parse_event(msgspec.json.decode(body, type=StripeEvent))
        payment = self.key_of(parsed.authorization_id) if parsed else None
        if parsed is None or payment is None:
            logger.info("foreign_payment_ignored", event=parsed and parsed.message_id)
            return []
        about = (parsed.message_id, payment)
        match parsed.type:
            case "payment.captured":
                return [webhook_events.Captured(*about, capture.capture_id) for capture in self._captures(payment)]
            case "payment.refunded":
                return [webhook_events.Refunded(*about, parsed.reason)]
            case "refund.failed":
                return [webhook_events.RefundFailed(*about, parsed.reason)]
            case "refund.pending":
                _check_known("refund", parsed.reference, parsed.status)
                logger.info("refund_pending", refund_id=parsed.reference)
                return []
            case "dispute":
                now = datetime.now(UTC)
                with self._translated_errors(effect=False):
                    dispute = _dispute(self._api.disputes.retrieve(parsed.reference))
                return _dispute_events(dispute, about, now)
            case "authorization.expired":
                return [webhook_events.Expired(*about)]

    def _captures(self, payment_key: str) -> tuple[Capture, ...]:
        payment = self.look_up(payment_key)
        return payment.captures if isinstance(payment, Movements) else ()

    def key_of(self, authorization_id: str) -> str | None:
        """Return the payment key of a PaymentIntent, or None for an intent of another system.

        Raises:
            ProviderUnavailable: Stripe did not answer.
        """
        try:
            with self._translated_errors(effect=False):
                intent = _intent(self._api.payment_intents.retrieve(authorization_id))
        except ProviderRefused:
            return None
        return intent.metadata.get(PAYMENT_KEY) if intent.metadata.get(_PIPELINE) == self._table else None

    @property
    def _api(self) -> stripe.V1Services:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection.v1

    def _idempotency_key(self, key: str) -> str:
        """Return Stripe's idempotency key, a header of at most 255 ASCII characters; a longer or other key is hashed."""
        own = f"{self._table}:{key}"
        fits = own.isascii() and own.isprintable() and len(own) <= _MAX_KEY_LENGTH
        return own if fits else f"{self._table}:{hashlib.sha256(key.encode()).hexdigest()}"

    def _create_intent(self, key: str, request: str, amount: Money) -> PaymentRecord:
        """Create an unconfirmed intent and store it; return the stored record, which may be a concurrent one.

        An amount that Stripe does not accept is stored as declined.
        """
        try:
            units = to_stripe(amount)
        except ProviderRefused:
            return self._put(key, PaymentRecord("", request, AMOUNT_INVALID if amount.amount else AMOUNT_TOO_SMALL))
        try:
            with self._translated_errors():
                intent = self._api.payment_intents.create(
                    {
                        "amount": units,
                        "currency": amount.currency.lower(),
                        "capture_method": "manual",
                        "allowed_payment_method_types": ["card"],
                        "payment_method_options": {"card": {"request_multicapture": "if_available"}},
                        "metadata": {PAYMENT_KEY: key, _PIPELINE: self._table},
                    },
                    {"idempotency_key": self._idempotency_key(key)},
                )
        except _NotAccepted as refused:
            if code := amount_decline_code(refused.reason):
                return self._put(key, PaymentRecord("", request, code))
            raise
        return self._put(key, PaymentRecord(intent.id, request))

    def _confirm(self, intent_id: str, token: str) -> Payment:
        """Confirm a stored intent, which authorizes its amount. Stripe confirms an intent once, also under concurrency."""
        try:
            with self._translated_errors():
                confirmed = self._api.payment_intents.confirm(
                    intent_id, {"payment_method": token, "off_session": True, "expand": ["latest_charge"]}
                )
        except _Declined as declined:
            return Declined(declined.code)
        except _NotAccepted as refused:
            if refused.code == Contradiction.NOT_AUTHORIZED:
                return self._require_known(self._payment(intent_id))
            code = customer_decline_code(refused.reason, refused.param)
            if code is None:
                raise
            with self._translated_errors():
                self._api.payment_intents.update(intent_id, {"metadata": {DECLINED: code}})
            return Declined(code)
        return self._require_known(to_payment(_intent(confirmed), []))

    def _require_known(self, payment: Payment | None) -> Payment:
        if payment is None:
            raise ProviderTimeout
        return payment

    def _capture(self, intent: PaymentIntent, key: str, amount: Money, *, final: bool) -> PaymentIntent:
        with self._translated_errors():
            taken = self._api.payment_intents.capture(
                intent.id,
                {
                    "amount_to_capture": to_stripe(amount),
                    "metadata": capture_metadata(intent, key, amount),
                    "expand": ["latest_charge"],
                    "final_capture": final or not supports_multicapture(intent),
                },
                {"idempotency_key": self._idempotency_key(key)},
            )
        return _intent(taken)

    def _release(self, intent: PaymentIntent, *, release: bool) -> Payment:
        """Cancel an intent, or release its uncaptured rest; after a concurrent change, a retry sees the new state."""
        try:
            with self._translated_errors():
                if release:
                    self._api.payment_intents.capture(intent.id, {"amount_to_capture": 0, "final_capture": True})
                else:
                    self._api.payment_intents.cancel(intent.id)
        except ProviderRefused as refused:
            raise ProviderUnavailable from refused
        return self._require_known(self._payment(intent.id))

    def _require_payment(self, payment_key: str) -> tuple[PaymentIntent, Authorized | Voided]:
        row = self._read(payment_key)
        if row is None or not row.intent:
            raise ProviderRefused(Contradiction.NOT_AUTHORIZED if row else Contradiction.UNKNOWN_PAYMENT)
        intent, payment = self._retrieve(row.intent)
        if payment is None:
            raise ProviderRefused(Contradiction.UNKNOWN_PAYMENT)
        if isinstance(payment, Declined):
            raise ProviderRefused(Contradiction.NOT_AUTHORIZED)
        return intent, payment

    def _payment(self, intent_id: str) -> Payment | None:
        return self._retrieve(intent_id)[1]

    def _retrieve(self, intent_id: str) -> tuple[PaymentIntent, Payment | None]:
        with self._translated_errors(effect=False):
            intent = _intent(self._api.payment_intents.retrieve(intent_id, {"expand": ["latest_charge"]}))
            refunds: list[StripeRefund] = []
            if intent.amount_received:
                listed = self._api.refunds.list({"payment_intent": intent_id, "limit": 100})
                refunds = [_refund(refund) for refund in listed.auto_paging_iter()]
        return intent, to_payment(intent, refunds)

    def _read(self, key: str) -> PaymentRecord | None:
        try:
            item = dynamodb.read_item(self._client, self._table, dynamodb.key(key=key))
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost
        return _row(item) if item else None

    def _put(self, key: str, row: PaymentRecord) -> PaymentRecord:
        """Store a record unless the key has one, and return the stored record."""
        try:
            self._client.put_item(
                TableName=self._table,
                Item=dynamodb.encode_item(
                    {
                        "key": key,
                        "intent": row.intent,
                        "request": row.request,
                        **({"declined": row.declined} if row.declined else {}),
                    }
                ),
                ConditionExpression="attribute_not_exists(intent)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            return _row(dynamodb.stored_item(refused))
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost
        return row

    @contextmanager
    def _translated_errors(self, *, effect: bool = True) -> Generator[None]:
        """Translate the SDK's errors into those of a PaymentProvider. A read raises ProviderUnavailable, never a timeout."""
        try:
            yield
        except stripe.AuthenticationError as error:
            self._connection = None
            _log(error)
            raise ProviderUnavailable from None
        except stripe.StripeError as error:
            _log(error)
            # Stripe's error texts can quote the token.
            raise _translate(error, effect=effect) from None


class _Declined(RuntimeError):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _NotAccepted(ProviderRefused):
    """Stripe's status 400: `reason` is its error code, `param` the refused parameter."""

    def __init__(self, code: Contradiction, reason: str | None, param: str | None) -> None:
        super().__init__(code)
        self.reason = reason
        self.param = param


def _translate(error: stripe.StripeError, *, effect: bool) -> Exception:
    match error:
        case stripe.CardError():
            return _Declined(decline_code(error.code, getattr(error.error, "decline_code", None)))
        case stripe.IdempotencyError():
            return ProviderRefused(Contradiction.KEY_REUSED)
        case stripe.InvalidRequestError():
            code = _CONTRADICTIONS.get(error.code or "", Contradiction.NOT_ACCEPTED)
            return _NotAccepted(code, error.code, error.param)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        case stripe.RateLimitError() | stripe.PermissionError():
            return ProviderUnavailable()
        case _:
            return ProviderTimeout() if effect else ProviderUnavailable()


def _dispute_events(dispute: StripeDispute, about: tuple[str, str], at: datetime) -> list[webhook_events.WebhookEvent]:
    """Return the webhook events of a dispute's status at the time `at` (UTC): Disputed, and Decided or Reopened."""
    state = dispute_state(dispute)
    if state is None or dispute.amount <= 0:
        logger.info("no_money_disputed", dispute_id=dispute.id, status=dispute.status)
        return []
    amount = from_stripe(dispute.amount, dispute.currency)
    disputed = webhook_events.Disputed(*about, dispute.id, amount, (dispute.reason or "")[:200], disputed_at(dispute))
    if state == "open":
        return [disputed, webhook_events.Reopened(*about, dispute.id, at)]
    return [disputed, webhook_events.Decided(*about, dispute.id, state, at)]


def _without_intent(row: PaymentRecord) -> Payment:
    return Declined(row.declined) if row.declined else Voided()


def _log(error: stripe.StripeError) -> None:
    logger.warning(
        "stripe_request_failed", error=type(error).__name__, status=error.http_status, code=error.code, request_id=error.request_id
    )


def _require_same_amount[T: Capture | Refund](there: T, amount: Money) -> T:
    if there.amount != amount:
        raise ProviderRefused(Contradiction.KEY_REUSED)
    return there


def _check(amount: Money, currency: str, most: int) -> None:
    if amount.currency != currency:
        raise ProviderRefused(Contradiction.CURRENCY_MISMATCH)
    if amount.amount <= 0:
        raise ProviderRefused(Contradiction.AMOUNT_INVALID)
    if amount.amount > most:
        raise ProviderRefused(Contradiction.AMOUNT_EXCEEDED)


def _intent(intent: stripe.PaymentIntent) -> PaymentIntent:
    _check_known("payment", intent.id, intent.status)
    return msgspec.convert(intent.to_dict(), PaymentIntent)


def _refund(refund: stripe.Refund) -> StripeRefund:
    _check_known("refund", refund.id, refund.status)
    return msgspec.convert(refund.to_dict(), StripeRefund)


def _dispute(dispute: stripe.Dispute) -> StripeDispute:
    _check_known("dispute", dispute.id, dispute.status)
    return msgspec.convert(dispute.to_dict(), StripeDispute)


def _check_known(kind: Kind, stripe_id: str, status: str | None) -> None:
    """Alert an operator to an unknown status of a Stripe object; until then it is treated in the safe way."""
    if not is_known(kind, status):
        operator_alerts.alert_operator(f"{kind}_status_unknown", stripe_id=stripe_id, status=status)


def _row(item: Any) -> PaymentRecord:
    return PaymentRecord(item["intent"], item["request"], item.get("declined", ""))
