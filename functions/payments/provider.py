"""The interface of a payment provider.

The idempotency key of its authorization identifies a payment, so it can be looked up and voided even if the
answer to the authorization was lost. Captures and refunds have idempotency keys of their own, which a look-up
returns. Amounts are in minor units.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from orderflow.domain.money import Money

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from payments.domain.webhook_events import WebhookEvent


class ProviderTimeout(RuntimeError):
    """The provider did not answer: the request may or may not have taken effect. Look up the payment first."""


class ProviderUnavailable(RuntimeError):
    """The provider did not accept the request: it had no effect, and a later retry can succeed."""


class Contradiction(StrEnum):
    """Why a request contradicts an earlier one or the payment's state."""

    KEY_REUSED = "idempotency_key_reused"
    UNKNOWN_PAYMENT = "unknown_payment"
    NOT_AUTHORIZED = "not_authorized"
    AMOUNT_INVALID = "amount_invalid"
    AMOUNT_EXCEEDED = "amount_exceeded"
    CURRENCY_MISMATCH = "currency_mismatch"
    NOT_ACCEPTED = "not_accepted"


class ProviderRefused(RuntimeError):
    """The request contradicts an earlier one, so a retry cannot succeed. `code` names the contradiction."""

    def __init__(self, code: Contradiction) -> None:
        """Create the error for this contradiction."""
        super().__init__(str(code))
        self.code = code


class Capture(Struct, frozen=True):
    """An amount captured under the idempotency key `key`."""

    key: str
    capture_id: str
    amount: Money


RefundStatus = Literal["succeeded", "pending", "failed"]


class Refund(Struct, frozen=True):
    """A refund that the provider accepted under the idempotency key `key`.

    The customer has the money once the refund `succeeded`. Pending and succeeded refunds can still fail; `failed` is
    final, and `reason` says why.
    """

    key: str
    refund_id: str
    amount: Money
    status: RefundStatus = "succeeded"
    reason: str = ""


class Movements(Struct, frozen=True, kw_only=True):
    """The captures and refunds of a payment in their order, refunds of every status included."""

    captures: tuple[Capture, ...] = ()
    refunds: tuple[Refund, ...] = ()

    @property
    def captured(self) -> int:
        """The captured amount, in minor units."""
        return sum(capture.amount.amount for capture in self.captures)

    @property
    def refunded(self) -> int:
        """The refunded amount, in minor units; only succeeded refunds count."""
        return sum(refund.amount.amount for refund in self.refunds if refund.status == "succeeded")

    @property
    def refundable(self) -> int:
        """The refundable amount, in minor units: captured less succeeded and pending refunds."""
        return self.captured - sum(refund.amount.amount for refund in self.refunds if refund.status != "failed")


class Authorized(Movements, frozen=True, tag=True):
    """The amount was authorized; the part that is not captured is still authorized."""

    authorization_id: str
    amount: Money


class Declined(Struct, frozen=True, tag=True):
    """The authorization was declined; `code` says why."""

    code: str


class Voided(Movements, frozen=True, tag=True):
    """The authorization was voided or has expired; this key can never authorize anything again.

    `authorization_id` is None if the void came before any authorization. Captured amounts stay captured and
    can be refunded.
    """

    authorization_id: str | None = None


type Payment = Authorized | Declined | Voided


class PaymentProvider(Protocol):
    """A payment provider. Requests are idempotent: the same key and parameters have one effect and one answer.

    Every method raises ProviderTimeout (outcome unknown), ProviderUnavailable (no effect) and
    ProviderRefused (a key with other parameters, or a request that the payment does not allow).
    """

    def authorize(self, key: str, token: str, amount: Money) -> Payment:
        """Authorize `amount` on the payment method behind `token`.

        Returns the current payment: Voided if a void of this key came first, Declined if the payment method or the amount
        cannot be charged.
        """
        ...

    def capture(self, payment_key: str, key: str, amount: Money) -> Capture:
        """Capture a part of the authorized amount.

        A payment allows any number of captures until it is voided, in total at most the authorized amount. Refused as
        `not_authorized` if nothing is authorized.
        """
        ...

    def void(self, payment_key: str) -> Payment:
        """Void the part of a payment that is not captured.

        A declined payment stays declined, and a fully captured one is unchanged. An unknown key becomes Voided,
        so a concurrent authorization under that key returns Voided.
        """
        ...

    def refund(self, payment_key: str, key: str, amount: Money) -> Refund:
        """Refund a part of the captured amount, also after a void; all refunds together at most that amount.

        Returns the current refund of this key. A failed refund is retried under another key.
        """
        ...

    def look_up(self, payment_key: str) -> Payment | None:
        """Return the current payment with its captures and refunds, or None if no request under the key took effect."""
        ...

    def parse_webhook(self, body: str) -> Sequence[WebhookEvent]:
        """Return the webhook events about payments of this pipeline in a verified body (payments.handlers.receive_webhook).

        Raises:
            msgspec.DecodeError: the body is malformed.
        """
        ...

    def disputes(self, payment_key: str) -> Sequence[WebhookEvent]:
        """Return the payment's current disputes as webhook events."""
        ...

    def recent(self, day: date) -> Iterable[str]:
        """Return the keys of the payments requested, refunded or disputed on a day (UTC), in any order.

        A key may occur twice, and declined payments may be included.
        """
        ...
