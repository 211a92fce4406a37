"""The rules of the sandbox provider: how a request changes an account. No AWS, no clock.

An account is the provider's state of one payment key. The functions take the current account (None for an unknown key) and return the
new one; an unchanged account means that the request had no further effect.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from orderflow.domain.money import Money, charge_step
from payments.domain import minimums
from payments.provider import (
    Authorized,
    Capture,
    Contradiction,
    Declined,
    Payment,
    ProviderRefused,
    ProviderUnavailable,
    Refund,
    RefundStatus,
    Voided,
)

TIMEOUT_BEFORE = "tok_timeout_before"
TIMEOUT_AFTER = "tok_timeout_after"
SLOW = "tok_slow"
UNAVAILABLE = "tok_unavailable"
EXPIRES = "tok_expires"
REFUND_PENDING = "tok_refund_pending"
REFUND_FAILS = "tok_refund_fails"
REFUND_FAILS_ONCE = "tok_refund_fails_once"
REFUND_FAILS_LATER = "tok_refund_fails_later"

type Kind = Literal["capture", "refund"]

_KINDS = ("capture", "refund", "void")
_FAULT_TOKENS = {
    *(f"tok_{kind}_{what}" for kind in _KINDS for what in ("timeout_before", "timeout_after", "unavailable")),
    *(EXPIRES, REFUND_PENDING, REFUND_FAILS, REFUND_FAILS_ONCE, REFUND_FAILS_LATER),
}
_APPROVED_TOKENS = {"tok_approved", TIMEOUT_BEFORE, TIMEOUT_AFTER, SLOW} | _FAULT_TOKENS
# Stripe's decline codes for payment methods that cannot be charged.
_DECLINES = {
    "tok_declined": "card_declined",
    "tok_insufficient_funds": "insufficient_funds",
    "tok_unsupported": "payment_method_unsupported_type",
    "tok_wrong_currency": "payment_method_currency_mismatch",
}


class Account(Struct, frozen=True):
    """The provider's state of one payment key.

    `payment` is None after an attempt that was lost without effect. `request` is a digest of the authorization's parameters, empty if a
    void came first. `simulated_fault` is the test token's fault for later requests, and `lost_keys` the keys whose first attempt it has
    lost. The stored names of both are older.
    """

    payment: Payment | None
    request: str = ""
    simulated_fault: str = msgspec.field(default="", name="trouble")
    lost_keys: tuple[str, ...] = msgspec.field(default=(), name="lost")


def authorize(account: Account | None, key: str, token: str, amount: Money) -> Account:
    """Return the account after a request to authorize `amount`.

    Raises:
        ProviderRefused: idempotency_key_reused, or amount_invalid for a negative amount.
    """
    if amount.amount < 0:
        raise ProviderRefused(Contradiction.AMOUNT_INVALID)
    request = _digest(token, str(amount.amount), amount.currency)
    if account is None and token == TIMEOUT_BEFORE:
        return Account(None, request)
    if account is None or account.payment is None:
        return Account(_decide_authorization(key, token, amount), request, token.removeprefix("tok_") if token in _FAULT_TOKENS else "")
    if account.request not in {"", request}:
        raise ProviderRefused(Contradiction.KEY_REUSED)
    return account


def void(account: Account | None) -> Account:
    """Return the account with a voided authorization; an unknown key can never authorize anything afterwards.

    Raises:
        ProviderUnavailable: simulated by the test token.
    """
    match account:
        case None | Account(payment=None):
            return Account(Voided(), account.request if account else "")
        case Account(payment=Authorized() as payment) if has_uncaptured_amount(payment):
            return _lose_first_attempt(account, "void", "void") or replace(account, payment=_release(payment))
        case _:
            return account


def expire(account: Account | None) -> Account:
    """Return the account after its authorization expired.

    Raises:
        ProviderRefused: unknown_payment or not_authorized.
    """
    if account is None or account.payment is None:
        raise ProviderRefused(Contradiction.UNKNOWN_PAYMENT)
    if not isinstance(account.payment, Authorized) or not has_uncaptured_amount(account.payment):
        raise ProviderRefused(Contradiction.NOT_AUTHORIZED)
    return replace(account, payment=_release(account.payment))


def capture(account: Account | None, key: str, amount: Money) -> Account:
    """Return the account after a capture under its own `key`; without the capture if the attempt was lost or the authorization has expired.

    Raises:
        ProviderRefused: unknown_payment, not_authorized, idempotency_key_reused, amount_invalid,
            amount_exceeded or currency_mismatch.
        ProviderUnavailable: simulated by the test token.
    """
    account, payment = _require_payment(account)
    if find_movement(account, key):
        return _require_same_request(account, "capture", key, amount)
    if not isinstance(payment, Authorized):
        raise ProviderRefused(Contradiction.NOT_AUTHORIZED)
    _validate_amount(amount, payment.amount.currency, payment.amount.amount - payment.captured)
    if account.simulated_fault == EXPIRES.removeprefix("tok_"):
        return expire(account)
    taken = replace(payment, captures=(*payment.captures, Capture(key, _identifier("cap", key), amount)))
    return _lose_first_attempt(account, "capture", key) or replace(account, payment=taken)


def refund(account: Account | None, key: str, amount: Money) -> Account:
    """Return the account after a refund under its own `key`; without the refund if the attempt was lost.

    Raises:
        ProviderRefused: as for a capture; amount_exceeded if the refunds would exceed the captured amount.
        ProviderUnavailable: simulated by the test token.
    """
    account, payment = _require_payment(account)
    if find_movement(account, key):
        return _require_same_request(account, "refund", key, amount)
    if not payment.captures:
        raise ProviderRefused(Contradiction.AMOUNT_EXCEEDED)
    _validate_amount(amount, payment.captures[0].amount.currency, payment.refundable)
    status = _refund_status(account, payment)
    new = Refund(key, _identifier("ref", key), amount, status, "declined" if status == "failed" else "")
    given = replace(payment, refunds=(*payment.refunds, new))
    return _lose_first_attempt(account, "refund", key) or replace(account, payment=given)


def _refund_status(account: Account, payment: Authorized | Voided) -> RefundStatus:
    match account.simulated_fault:
        case "refund_pending":
            return "pending"
        case "refund_fails":
            return "failed"
        case "refund_fails_once" if not payment.refunds:
            return "failed"
        case _:
            return "succeeded"


def conclude_refunds(account: Account | None) -> Account:
    """Return the account after the bank executed its refunds: pending ones succeed, and those of `tok_refund_fails_later` fail.

    Raises:
        ProviderRefused: unknown_payment or not_authorized.
    """
    account, payment = _require_payment(account)
    return replace(account, payment=replace(payment, refunds=tuple(_conclude_refund(account, one) for one in payment.refunds)))


def _conclude_refund(account: Account, refund: Refund) -> Refund:
    if account.simulated_fault == REFUND_FAILS_LATER.removeprefix("tok_"):
        return replace(refund, status="failed", reason="expired_or_canceled_card")
    return replace(refund, status="succeeded") if refund.status == "pending" else refund


def find_movement(account: Account | None, key: str) -> Capture | Refund | None:
    """Return the capture or refund with this key, or None."""
    if account is None or not isinstance(account.payment, Authorized | Voided):
        return None
    return next((one for one in (*account.payment.captures, *account.payment.refunds) if one.key == key), None)


def has_uncaptured_amount(payment: Payment) -> bool:
    """Return whether the payment has an uncaptured amount."""
    return isinstance(payment, Authorized) and (not payment.captures or payment.captured < payment.amount.amount)


def _decide_authorization(key: str, token: str, amount: Money) -> Payment:
    if refused := minimums.decline_code(amount):
        return Declined(refused)
    if token in _APPROVED_TOKENS:
        return Authorized(_identifier("auth", key), amount)
    return Declined(_DECLINES.get(token, "invalid_token"))


def _release(payment: Authorized) -> Voided:
    return Voided(payment.authorization_id, captures=payment.captures, refunds=payment.refunds)


def _require_payment(account: Account | None) -> tuple[Account, Authorized | Voided]:
    if account is None or account.payment is None:
        raise ProviderRefused(Contradiction.UNKNOWN_PAYMENT)
    if isinstance(account.payment, Declined):
        raise ProviderRefused(Contradiction.NOT_AUTHORIZED)
    return account, account.payment


def _require_same_request(account: Account, kind: Kind, key: str, amount: Money) -> Account:
    known = find_movement(account, key)
    if known is None or known.amount != amount or isinstance(known, Capture) != (kind == "capture"):
        raise ProviderRefused(Contradiction.KEY_REUSED)
    return account


def _validate_amount(amount: Money, currency: str, most: int) -> None:
    if amount.currency != currency:
        raise ProviderRefused(Contradiction.CURRENCY_MISMATCH)
    if amount.amount <= 0 or amount.amount % charge_step(amount.currency):
        raise ProviderRefused(Contradiction.AMOUNT_INVALID)
    if amount.amount > most:
        raise ProviderRefused(Contradiction.AMOUNT_EXCEEDED)


def _lose_first_attempt(account: Account, kind: str, key: str) -> Account | None:
    """Return the account with the lost attempt recorded if the simulated fault loses it, otherwise None."""
    if account.simulated_fault == f"{kind}_unavailable":
        raise ProviderUnavailable
    if account.simulated_fault != f"{kind}_timeout_before" or key in account.lost_keys:
        return None
    return replace(account, lost_keys=(*account.lost_keys, key))


def _identifier(prefix: str, key: str) -> str:
    return f"{prefix}_{_digest(key)[:24]}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
