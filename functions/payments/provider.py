"""What the pipeline asks of a payment provider, whichever it is.

A payment is addressed by the idempotency key of its authorization, so that it can be looked up and
voided even when the answer to the authorization was lost. Amounts are in minor units.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from orderflow.money import Money


class ProviderTimeout(RuntimeError):
    """No answer came: the request may have taken effect or not. Look the payment up before anything else."""


class ProviderUnavailable(RuntimeError):
    """The provider did not take the request: it had no effect, and trying later helps."""


class Contradiction(StrEnum):
    """Why a request cannot go with what was asked before."""

    KEY_REUSED = "idempotency_key_reused"
    UNKNOWN_PAYMENT = "unknown_payment"
    NOT_AUTHORIZED = "not_authorized"
    ALREADY_CAPTURED = "already_captured"
    AMOUNT_INVALID = "amount_invalid"
    AMOUNT_EXCEEDED = "amount_exceeded"
    CURRENCY_MISMATCH = "currency_mismatch"


class ProviderRefused(RuntimeError):
    """The request contradicts what was asked before; asking again does not help. `code` says why."""

    def __init__(self, code: Contradiction) -> None:
        """Name the contradiction."""
        super().__init__(str(code))
        self.code = code


class Authorized(Struct, frozen=True, tag=True):
    """The amount is held for us; `captured` and `refunded` are the parts of it that moved since."""

    authorization_id: str
    amount: Money
    captured: int = 0
    refunded: int = 0


class Declined(Struct, frozen=True, tag=True):
    """The amount was not held; `code` says why."""

    code: str


class Voided(Struct, frozen=True, tag=True):
    """Nothing is held any more, and nothing will be under this key.

    `authorization_id` names the authorization that was given back; there is none when the void came
    before any authorization.
    """

    authorization_id: str | None = None


type Payment = Authorized | Declined | Voided


class Capture(Struct, frozen=True):
    """Money that was taken from an authorization."""

    capture_id: str
    amount: Money


class Refund(Struct, frozen=True):
    """Captured money that was given back."""

    refund_id: str
    amount: Money


class PaymentProvider(Protocol):
    """A payment provider. The same key with the same parameters has one effect and one answer.

    Every method raises ProviderTimeout (outcome unknown), ProviderUnavailable (no effect) and
    ProviderRefused (a key with other parameters, or a request that the payment does not allow).
    """

    def authorize(self, key: str, token: str, amount: Money) -> Payment:
        """Hold `amount` on the means of payment behind `token`.

        Returns the payment as it stands now: Voided where a void of this key came first.
        """
        ...

    def capture(self, payment_key: str, key: str, amount: Money) -> Capture:
        """Take a part of what the payment holds; all captures together at most the authorized amount."""
        ...

    def void(self, payment_key: str) -> Payment:
        """Give back what a payment holds, nothing of which was captured.

        A declined payment stays declined. A key that is not known yet becomes Voided, so that an
        authorization still under way under that key comes back voided.
        """
        ...

    def refund(self, payment_key: str, key: str, amount: Money) -> Refund:
        """Give back a part of what was captured; all refunds together at most that."""
        ...

    def look_up(self, payment_key: str) -> Payment | None:
        """Return the payment as it stands now, or None when nothing took effect under the key."""
        ...
