"""The sandbox provider's rules: what a request makes of an account. No AWS, no clock.

An account is all that the provider knows under one key. The functions take the account as it is
(None when there is none) and return it as it is afterwards; returning it unchanged means that the
request has had its effect already.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from orderflow.money import Money
from payments.provider import Authorized, Capture, Contradiction, Declined, Payment, ProviderRefused, Refund, Voided

TIMEOUT_BEFORE = "tok_timeout_before"
TIMEOUT_AFTER = "tok_timeout_after"
SLOW = "tok_slow"
UNAVAILABLE = "tok_unavailable"

_GOOD = {"tok_approved", TIMEOUT_BEFORE, TIMEOUT_AFTER, SLOW}
_DECLINES = {"tok_declined": "card_declined", "tok_insufficient_funds": "insufficient_funds"}


class Movement(Struct, frozen=True):
    """A capture or refund that took place."""

    kind: Literal["capture", "refund"]
    amount: Money


class Account(Struct, frozen=True):
    """What the provider knows under one key.

    `payment` is None while an attempt was lost before it took effect. `request` fingerprints the
    parameters of the authorization; it is empty where a void came first. `movements` holds captures
    and refunds by their own keys.
    """

    payment: Payment | None
    request: str = ""
    movements: dict[str, Movement] = {}


def authorize(account: Account | None, key: str, token: str, amount: Money) -> Account:
    """Return the account after a request to hold `amount`.

    Raises:
        ProviderRefused: idempotency_key_reused, or amount_invalid when it is negative.
    """
    if amount.amount < 0:
        raise ProviderRefused(Contradiction.AMOUNT_INVALID)
    request = _digest(token, str(amount.amount), amount.currency)
    if account is None and token == TIMEOUT_BEFORE:
        return Account(None, request)
    if account is None or account.payment is None:
        return Account(_judge(key, token, amount), request)
    if account.request not in {"", request}:
        raise ProviderRefused(Contradiction.KEY_REUSED)
    return account


def void(account: Account | None) -> Account:
    """Return the account with nothing held; for an unknown key, one that can never hold anything.

    Raises:
        ProviderRefused: already_captured.
    """
    match account:
        case None | Account(payment=None):
            return Account(Voided(), account.request if account else "")
        case Account(payment=Authorized(captured=0, authorization_id=authorization_id)):
            return replace(account, payment=Voided(authorization_id))
        case Account(payment=Authorized()):
            raise ProviderRefused(Contradiction.ALREADY_CAPTURED)
        case _:
            return account


def move(account: Account | None, key: str, movement: Movement) -> Account:
    """Return the account after a capture or a refund under its own `key`.

    Raises:
        ProviderRefused: unknown_payment, not_authorized, idempotency_key_reused, amount_invalid,
            amount_exceeded or currency_mismatch.
    """
    if account is None or account.payment is None:
        raise ProviderRefused(Contradiction.UNKNOWN_PAYMENT)
    if key in account.movements:
        return _repeated(account, key, movement)
    if not isinstance(account.payment, Authorized):
        raise ProviderRefused(Contradiction.NOT_AUTHORIZED)
    payment = _moved(account.payment, movement)
    return replace(account, payment=payment, movements={**account.movements, key: movement})


def capture_of(key: str, amount: Money) -> Capture:
    """Return the answer to a capture; the same for the same key."""
    return Capture(_identifier("cap", key), amount)


def refund_of(key: str, amount: Money) -> Refund:
    """Return the answer to a refund; the same for the same key."""
    return Refund(_identifier("ref", key), amount)


def _judge(key: str, token: str, amount: Money) -> Payment:
    if token in _GOOD:
        return Authorized(_identifier("auth", key), amount)
    return Declined(_DECLINES.get(token, "invalid_token"))


def _repeated(account: Account, key: str, movement: Movement) -> Account:
    if account.movements[key] != movement:
        raise ProviderRefused(Contradiction.KEY_REUSED)
    return account


def _moved(payment: Authorized, movement: Movement) -> Authorized:
    amount = movement.amount
    if amount.currency != payment.amount.currency:
        raise ProviderRefused(Contradiction.CURRENCY_MISMATCH)
    if amount.amount <= 0:
        raise ProviderRefused(Contradiction.AMOUNT_INVALID)
    captured = payment.captured + (amount.amount if movement.kind == "capture" else 0)
    refunded = payment.refunded + (amount.amount if movement.kind == "refund" else 0)
    if captured > payment.amount.amount or refunded > captured:
        raise ProviderRefused(Contradiction.AMOUNT_EXCEEDED)
    return replace(payment, captured=captured, refunded=refunded)


def _identifier(prefix: str, key: str) -> str:
    return f"{prefix}_{_digest(key)[:24]}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
