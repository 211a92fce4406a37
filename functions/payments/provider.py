"""What the pipeline asks of a payment provider, whichever it is.

A payment is addressed by the idempotency key of its authorization, so that it can be looked up and
voided even when the answer to the authorization was lost. Its captures and refunds have keys of their
own, under which looking the payment up shows them. Amounts are in minor units.
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
    """No answer came: the request may have taken effect or not. Look the payment up before anything else."""


class ProviderUnavailable(RuntimeError):
    """The provider did not take the request: it had no effect, and trying later helps."""


class Contradiction(StrEnum):
    """Why a request cannot go with what was asked before."""

    KEY_REUSED = "idempotency_key_reused"
    UNKNOWN_PAYMENT = "unknown_payment"
    NOT_AUTHORIZED = "not_authorized"
    AMOUNT_INVALID = "amount_invalid"
    AMOUNT_EXCEEDED = "amount_exceeded"
    CURRENCY_MISMATCH = "currency_mismatch"
    NOT_ACCEPTED = "not_accepted"


class ProviderRefused(RuntimeError):
    """The request contradicts what was asked before; asking again does not help. `code` says why."""

    def __init__(self, code: Contradiction) -> None:
        """Name the contradiction."""
        super().__init__(str(code))
        self.code = code


class Capture(Struct, frozen=True):
    """Money that was taken from an authorization, under the `key` of the request."""

    key: str
    capture_id: str
    amount: Money


RefundStatus = Literal["succeeded", "pending", "failed"]


class Refund(Struct, frozen=True):
    """A refund that the provider accepted under the `key` of the request.

    The customer has the money once it `succeeded`. One that is `pending` may still fail, and so may one that succeeded;
    `failed` is final, `reason` says why.
    """

    key: str
    refund_id: str
    amount: Money
    status: RefundStatus = "succeeded"
    reason: str = ""


class Movements(Struct, frozen=True, kw_only=True):
    """The money of a payment that moved, in the order in which it did; its refunds are among them whatever their status."""

    captures: tuple[Capture, ...] = ()
    refunds: tuple[Refund, ...] = ()

    @property
    def captured(self) -> int:
        """What all captures took, in minor units."""
        return sum(capture.amount.amount for capture in self.captures)

    @property
    def refunded(self) -> int:
        """What refunds gave back, in minor units; pending and failed ones do not count."""
        return sum(refund.amount.amount for refund in self.refunds if refund.status == "succeeded")

    @property
    def refundable(self) -> int:
        """What can be refunded yet, in minor units: captured less refunds that succeeded or are pending."""
        return self.captured - sum(refund.amount.amount for refund in self.refunds if refund.status != "failed")


class Authorized(Movements, frozen=True, tag=True):
    """The amount was held for us; what was not captured of it still is."""

    authorization_id: str
    amount: Money


class Declined(Struct, frozen=True, tag=True):
    """The amount was not held; `code` says why."""

    code: str


class Voided(Movements, frozen=True, tag=True):
    """Nothing is held any more, and nothing will be under this key: it was given back, or the hold lapsed.

    `authorization_id` names the authorization; there is none when the void came before any. What was
    captured before stays captured, and can be refunded.
    """

    authorization_id: str | None = None


type Payment = Authorized | Declined | Voided


class PaymentProvider(Protocol):
    """A payment provider. The same key with the same parameters has one effect and one answer.

    Every method raises ProviderTimeout (outcome unknown), ProviderUnavailable (no effect) and
    ProviderRefused (a key with other parameters, or a request that the payment does not allow).
    """

    def authorize(self, key: str, token: str, amount: Money) -> Payment:
        """Hold `amount` on the means of payment behind `token`.

        Returns the payment as it stands now: Voided where a void of this key came first, Declined where the means of payment
        or the amount cannot be charged, which is the customer's to solve.
        """
        ...

    def capture(self, payment_key: str, key: str, amount: Money) -> Capture:
        """Take a part of what the payment holds; all captures together at most the authorized amount.

        A payment takes any number of captures until it is voided. Refused as `not_authorized` where nothing is held.
        """
        ...

    def void(self, payment_key: str) -> Payment:
        """Give back what a payment still holds: all of it, or what its captures left.

        A declined payment stays declined, and one that was captured to the last cent stays as it is. A key
        that is not known yet becomes Voided, so that an authorization still under way under that key comes
        back voided.
        """
        ...

    def refund(self, payment_key: str, key: str, amount: Money) -> Refund:
        """Give back a part of what was captured, also after a void; all refunds together at most that.

        Returns the refund of this key as it stands now. A failed one is tried again under another key.
        """
        ...

    def look_up(self, payment_key: str) -> Payment | None:
        """Return the payment as it stands now, with its captures and refunds; None when nothing took effect under the key."""
        ...

    def parse_webhook(self, body: str) -> Sequence[WebhookEvent]:
        """Return what the body of one of its messages, taken in by payments.handlers.receive_webhook, says of payments of ours.

        Raises:
            msgspec.DecodeError: it is no message.
        """
        ...

    def disputes(self, payment_key: str) -> Sequence[WebhookEvent]:
        """Return what the provider knows of a payment's disputes, as the messages about them would say it."""
        ...

    def recent(self, day: date) -> Iterable[str]:
        """Return the keys of the payments that were first asked for, refunded or disputed on a day (UTC), in any order.

        A key may come twice, and declined payments may be among them.
        """
        ...
