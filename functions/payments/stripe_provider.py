"""Payments by Stripe: one PaymentIntent for each payment, captured by hand, through Stripe's own SDK.

Which intent belongs to a payment is in a table of ours before the intent can hold anything: it is made, written
down, and only then confirmed. An intent whose number was lost on the way is never confirmed. So a payment is
found at once and for ever, also when Stripe has forgotten the idempotency key, which it does after a day.
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

from orderflow.observability import logger
from payments import messages
from payments.provider import (
    Authorized,
    Capture,
    Contradiction,
    Declined,
    Moved,
    Payment,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
    Refund,
    Voided,
)
from payments.stripe_notices import StripeEvent, notice_of
from payments.stripe_objects import (
    DECLINED,
    INVALID_TOKEN,
    PAYMENT_KEY,
    REFUND_KEY,
    Intent,
    StripeRefund,
    capture_mark,
    decline_code,
    from_stripe,
    payment_of,
    several_captures,
    to_stripe,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from datetime import date

    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.money import Money

# Seconds to connect and to wait for an answer. An idle connection that was closed is worth one more attempt.
_TIMEOUT = (1.0, 4.0)
_RETRIES = 1
# One account of Stripe may serve several stacks; the table's name tells whose payment it is.
_PIPELINE = "pipeline"
_CONTRADICTIONS = {
    "payment_intent_unexpected_state": Contradiction.NOT_AUTHORIZED,
    "resource_missing": Contradiction.UNKNOWN_PAYMENT,
    "amount_too_large": Contradiction.AMOUNT_INVALID,
    "amount_too_small": Contradiction.AMOUNT_INVALID,
    "parameter_invalid_integer": Contradiction.AMOUNT_INVALID,
    "charge_already_refunded": Contradiction.AMOUNT_EXCEEDED,
}


class Row(Struct, frozen=True):
    """What is written down of a payment: its intent, and a digest of what was asked for. Closed before it began: neither."""

    intent: str = ""
    request: str = ""


def connected(key: str, base: str, http: stripe.HTTPClient | None = None) -> stripe.StripeClient:
    """Return Stripe's client under the secret key, at the API's address."""
    transport = http or stripe.RequestsClient(timeout=_TIMEOUT)
    return stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=_RETRIES, http_client=transport)


class Stripe:
    """A PaymentProvider on Stripe."""

    def __init__(self, connect: Callable[[], stripe.StripeClient], table: str, client: DynamoDBClient) -> None:
        """Keep intents in the table named `table`; `connect` is called with the first request, and after a key was refused."""
        self._connect = connect
        self._connection: stripe.StripeClient | None = None
        self._table = table
        self._client = client

    def authorize(self, key: str, token: str, amount: Money) -> Payment:
        """Hold `amount`, as PaymentProvider.authorize says; `token` names a PaymentMethod."""
        request = hashlib.sha256("\0".join((token, str(amount.amount), amount.currency)).encode()).hexdigest()
        units = to_stripe(amount)
        row = self._read(key)
        began = row is None
        if row is None:
            row = self._begin(key, request, units, amount.currency)
        if not row.intent:
            return Voided()
        if row.request != request:
            raise ProviderRefused(Contradiction.KEY_REUSED)
        known = None if began else self._payment(row.intent)
        return known or self._confirm(row.intent, token)

    def capture(self, payment_key: str, key: str, amount: Money) -> Capture:
        """Take a part of the payment, as PaymentProvider.capture says."""
        intent, payment = self._movable(payment_key)
        for capture in payment.captures:
            if capture.key == key:
                return _repeated(capture, amount)
        if not isinstance(payment, Authorized):
            raise ProviderRefused(Contradiction.NOT_AUTHORIZED)
        _check(amount, payment.amount.currency, payment.amount.amount - payment.captured)
        after = self._take(intent, key, amount, final=payment.captured + amount.amount == payment.amount.amount)
        taken = payment_of(after, [])
        return next(one for one in getattr(taken, "captures", ()) if one.key == key)

    def void(self, payment_key: str) -> Payment:
        """Give back what is still held, as PaymentProvider.void says."""
        row = self._read(payment_key) or self._put(payment_key, Row())
        if not row.intent:
            return Voided()
        intent, payment = self._found(row.intent)
        match payment:
            case Authorized(amount=amount) if not payment.captures:
                return self._given_back(intent, release=False)
            case Authorized(amount=amount) if payment.captured < amount.amount:
                return self._given_back(intent, release=True)
            case None:
                return self._given_back(intent, release=False)
            case _:
                return payment

    def refund(self, payment_key: str, key: str, amount: Money) -> Refund:
        """Give captured money back, as PaymentProvider.refund says."""
        intent, payment = self._movable(payment_key)
        for refund in payment.refunds:
            if refund.key == key:
                return _repeated(refund, amount)
        _check(amount, intent.currency.upper(), payment.captured - payment.refunded)
        with self._asking():
            given = self._api.refunds.create(
                {
                    "payment_intent": intent.id,
                    "amount": to_stripe(amount),
                    "metadata": {PAYMENT_KEY: payment_key, REFUND_KEY: key},
                },
                {"idempotency_key": self._own(key)},
            )
        return Refund(key, given.id, from_stripe(given.amount, given.currency))

    def look_up(self, payment_key: str) -> Payment | None:
        """Return the payment as it stands now, as PaymentProvider.look_up says."""
        row = self._read(payment_key)
        if row is None:
            return None
        return self._payment(row.intent) if row.intent else Voided()

    def recent(self, day: date) -> Iterator[str]:
        """Return the keys of a day's payments, as PaymentProvider.recent says."""
        start = datetime.combine(day, time_of_day(), UTC)
        end = start + timedelta(days=1)
        with self._asking(effect=False):
            page = self._api.payment_intents.list({"created": {"gte": int(start.timestamp()), "lt": int(end.timestamp())}, "limit": 100})
            for intent in map(_intent, page.auto_paging_iter()):
                if intent.metadata.get(_PIPELINE) == self._table:
                    yield intent.metadata[PAYMENT_KEY]

    def told(self, body: str) -> list[messages.Notice]:
        """Return what an event of Stripe's says of a payment of this pipeline, as PaymentProvider.told says.

        Of captures Stripe tells the sum only: all of them are returned, as they are found there now.
        """
        said = notice_of(msgspec.json.decode(body, type=StripeEvent))
        payment = self.key_of(said.authorization_id) if said else None
        if said is None or payment is None:
            logger.info("concerns no payment of ours", event=said and said.message_id)
            return []
        about = (said.message_id, payment)
        match said.type:
            case "payment.captured":
                return [messages.Captured(*about, capture.capture_id) for capture in self._captures(payment)]
            case "payment.refunded":
                return [messages.Refunded(*about, said.reason)]
            case "dispute.created":
                return [messages.Disputed(*about, said.reference, said.amount, said.reason)]
            case "dispute.closed":
                return [messages.Decided(*about, said.reference, "won" if said.outcome == "won" else "lost")]
            case "authorization.expired":
                return [messages.Expired(*about)]

    def _captures(self, payment_key: str) -> tuple[Capture, ...]:
        payment = self.look_up(payment_key)
        return payment.captures if isinstance(payment, Moved) else ()

    def key_of(self, authorization_id: str) -> str | None:
        """Return the key of the payment behind a PaymentIntent, or None for one that is not of this pipeline.

        Raises:
            ProviderUnavailable: no answer.
        """
        try:
            with self._asking(effect=False):
                intent = _intent(self._api.payment_intents.retrieve(authorization_id))
        except ProviderRefused:
            return None
        return intent.metadata.get(PAYMENT_KEY) if intent.metadata.get(_PIPELINE) == self._table else None

    @property
    def _api(self) -> stripe.V1Services:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection.v1

    def _own(self, key: str) -> str:
        return f"{self._table}:{key}"

    def _begin(self, key: str, request: str, units: int, currency: str) -> Row:
        """Make an intent that holds nothing yet and write it down; return what is written, which may be another's."""
        with self._asking():
            intent = self._api.payment_intents.create(
                {
                    "amount": units,
                    "currency": currency.lower(),
                    "capture_method": "manual",
                    "allowed_payment_method_types": ["card"],
                    "payment_method_options": {"card": {"request_multicapture": "if_available"}},
                    "metadata": {PAYMENT_KEY: key, _PIPELINE: self._table},
                },
                {"idempotency_key": self._own(key)},
            )
        return self._put(key, Row(intent.id, request))

    def _confirm(self, intent_id: str, token: str) -> Payment:
        """Hold the amount of an intent that is written down. Stripe confirms an intent once, whatever is asked at the same time."""
        try:
            with self._asking():
                confirmed = self._api.payment_intents.confirm(
                    intent_id, {"payment_method": token, "off_session": True, "expand": ["latest_charge"]}
                )
        except _Declined as declined:
            return Declined(declined.code)
        except _NoSuchToken:
            with self._asking():
                self._api.payment_intents.update(intent_id, {"metadata": {DECLINED: INVALID_TOKEN}})
            return Declined(INVALID_TOKEN)
        except ProviderRefused as refused:
            if refused.code != Contradiction.NOT_AUTHORIZED:
                raise
            return self._settled(self._payment(intent_id))
        return self._settled(payment_of(_intent(confirmed), []))

    def _settled(self, payment: Payment | None) -> Payment:
        if payment is None:
            raise ProviderTimeout
        return payment

    def _take(self, intent: Intent, key: str, amount: Money, *, final: bool) -> Intent:
        with self._asking():
            taken = self._api.payment_intents.capture(
                intent.id,
                {
                    "amount_to_capture": to_stripe(amount),
                    "metadata": capture_mark(intent, key, amount),
                    "expand": ["latest_charge"],
                    "final_capture": final or not several_captures(intent),
                },
                {"idempotency_key": self._own(key)},
            )
        return _intent(taken)

    def _given_back(self, intent: Intent, *, release: bool) -> Payment:
        """Cancel an intent, or release what its captures left; where it changed meanwhile, the next attempt sees it."""
        try:
            with self._asking():
                if release:
                    self._api.payment_intents.capture(intent.id, {"amount_to_capture": 0, "final_capture": True})
                else:
                    self._api.payment_intents.cancel(intent.id)
        except ProviderRefused as refused:
            raise ProviderUnavailable from refused
        return self._settled(self._payment(intent.id))

    def _movable(self, payment_key: str) -> tuple[Intent, Authorized | Voided]:
        row = self._read(payment_key)
        if row is None or not row.intent:
            raise ProviderRefused(Contradiction.NOT_AUTHORIZED if row else Contradiction.UNKNOWN_PAYMENT)
        intent, payment = self._found(row.intent)
        if payment is None:
            raise ProviderRefused(Contradiction.UNKNOWN_PAYMENT)
        if isinstance(payment, Declined):
            raise ProviderRefused(Contradiction.NOT_AUTHORIZED)
        return intent, payment

    def _payment(self, intent_id: str) -> Payment | None:
        return self._found(intent_id)[1]

    def _found(self, intent_id: str) -> tuple[Intent, Payment | None]:
        with self._asking(effect=False):
            intent = _intent(self._api.payment_intents.retrieve(intent_id, {"expand": ["latest_charge"]}))
            refunds: list[StripeRefund] = []
            if intent.amount_received:
                listed = self._api.refunds.list({"payment_intent": intent_id, "limit": 100})
                refunds = [msgspec.convert(refund.to_dict(), StripeRefund) for refund in listed.auto_paging_iter()]
        return intent, payment_of(intent, refunds)

    def _read(self, key: str) -> Row | None:
        try:
            answer = self._client.get_item(TableName=self._table, Key={"key": {"S": key}}, ConsistentRead=True)
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost
        return _row(answer["Item"]) if "Item" in answer else None

    def _put(self, key: str, row: Row) -> Row:
        """Write a row down unless the key has one already; return the one that is there."""
        try:
            self._client.put_item(
                TableName=self._table,
                Item={"key": {"S": key}, "intent": {"S": row.intent}, "request": {"S": row.request}},
                ConditionExpression="attribute_not_exists(intent)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            return _row(refused.response["Item"])  # pyright: ignore[reportTypedDictNotRequiredAccess, reportGeneralTypeIssues]
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost
        return row

    @contextmanager
    def _asking(self, *, effect: bool = True) -> Generator[None]:
        """Turn what Stripe's SDK raises into what a PaymentProvider raises; a request without effect never leaves one in doubt."""
        try:
            yield
        except stripe.AuthenticationError as error:
            self._connection = None
            _log(error)
            raise ProviderUnavailable from None
        except stripe.StripeError as error:
            _log(error)
            # Stripe's texts can quote the token.
            raise _meaning(error, effect=effect) from None


class _Declined(RuntimeError):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _NoSuchToken(RuntimeError):
    pass


def _meaning(error: stripe.StripeError, *, effect: bool) -> Exception:
    match error:
        case stripe.CardError():
            return _Declined(decline_code(error.code, getattr(error.error, "decline_code", None)))
        case stripe.IdempotencyError():
            return ProviderRefused(Contradiction.KEY_REUSED)
        case stripe.InvalidRequestError(code="resource_missing", param="payment_method"):
            return _NoSuchToken()
        case stripe.InvalidRequestError():
            return ProviderRefused(_CONTRADICTIONS.get(error.code or "", Contradiction.NOT_ACCEPTED))
        case stripe.RateLimitError() | stripe.PermissionError():
            return ProviderUnavailable()
        case _:
            return ProviderTimeout() if effect else ProviderUnavailable()


def _log(error: stripe.StripeError) -> None:
    logger.warning("stripe", error=type(error).__name__, status=error.http_status, code=error.code, request_id=error.request_id)


def _repeated[T: Capture | Refund](there: T, amount: Money) -> T:
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


def _intent(intent: stripe.PaymentIntent) -> Intent:
    return msgspec.convert(intent.to_dict(), Intent)


def _row(item: Any) -> Row:
    return Row(item["intent"]["S"], item["request"]["S"])
