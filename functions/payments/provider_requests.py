"""Requests to the payment provider under the order's keys. The effect of a request whose answer was lost is looked up.

Every function raises ProviderTimeout if the provider does not know the effect either, and ProviderUnavailable and ProviderRefused
as the provider does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.observability import logger
from orderflow.domain.money import Money, charge_step
from payments.domain.payment_keys import capture_key, payment_key, refund_key
from payments.provider import Contradiction, Movements, Payment, PaymentProvider, ProviderRefused, ProviderTimeout, Refund, Voided

if TYPE_CHECKING:
    from orderflow.domain.order import Order
    from payments.domain import amounts_due


def authorize(provider: PaymentProvider, order: Order, token: str) -> Payment:
    """Authorize the order's total."""
    key = payment_key(order.order_id)
    try:
        return provider.authorize(key, token, order.total)
    except ProviderTimeout:
        payment = provider.look_up(key)
        logger.warning("provider_timed_out", took_effect=payment is not None)
        if payment is None:
            raise
        return payment


def capture(provider: PaymentProvider, order_id: str, parcel_id: str, amount: Money) -> str:
    """Capture the amount of a parcel and return the capture id. An amount of zero is not requested."""
    key, payment = capture_key(order_id, parcel_id), payment_key(order_id)
    if amount.amount == 0:  # providers refuse an amount of zero
        return key
    try:
        return provider.capture(payment, key, amount).capture_id
    except ProviderTimeout:
        found = next((one.capture_id for one in movements(provider, payment).captures if one.key == key), None)
        return _require_found(found)


def refund(provider: PaymentProvider, order_id: str, owed: amounts_due.Refund) -> Refund | None:
    """Refund an owed amount and return the provider's refund, or None if nothing refundable is left.

    After manual refunds, only the rest is refunded. If an earlier attempt under the same key had another amount, its refund is
    returned.
    """
    key, payment = refund_key(order_id, owed.cause, owed.number), payment_key(order_id)
    try:
        return provider.refund(payment, key, owed.amount)
    except ProviderTimeout:
        return _require_found(_refund_of_key(provider, payment, key))
    except ProviderRefused as refused:
        there = movements(provider, payment)
        if refused.code == Contradiction.KEY_REUSED and (known := _refund_of_key(provider, payment, key)):
            return known
        left = there.refundable - there.refundable % charge_step(owed.amount.currency)
        if refused.code != Contradiction.AMOUNT_EXCEEDED or left >= owed.amount.amount:
            raise
        return provider.refund(payment, key, Money(left, owed.amount.currency)) if left > 0 else None


def movements(provider: PaymentProvider, payment_key: str) -> Movements:
    """Return the captures and refunds of a payment; none for an unknown or declined payment."""
    payment = provider.look_up(payment_key)
    return payment if isinstance(payment, Movements) else Movements()


def void(provider: PaymentProvider, order: Order) -> Payment:
    """Void the order's payment."""
    key = payment_key(order.order_id)
    try:
        return provider.void(key)
    except ProviderTimeout:
        payment = provider.look_up(key)
        if not isinstance(payment, Voided):
            raise
        return payment


def _refund_of_key(provider: PaymentProvider, payment_key: str, key: str) -> Refund | None:
    return next((one for one in movements(provider, payment_key).refunds if one.key == key), None)


def _require_found[T: str | Refund](there: T | None) -> T:
    """Return the looked-up result of a lost answer; raises ProviderTimeout if the provider does not have it either."""
    logger.warning("provider_timed_out", took_effect=there is not None)
    if there is None:
        raise ProviderTimeout
    return there
