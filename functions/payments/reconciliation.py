"""Reconciles recent payments at the provider with their orders, and repairs differences where that is safe.

A payment is compared on the day of its order, and one, seven and thirty days later: during its saga, after most
dispatches, before an authorization expires, and after the return window. Refunds and disputes count from their own day,
because a refund can fail weeks after its order. Amounts due are settled, disputes and failed refunds are recorded; an
operator handles the differences that remain.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.aws.observability import logger
from orderflow.aws.order_log import OrderNotFound
from payments import settlement_service, webhook_consumer
from payments.domain import amounts_due, payment_keys
from payments.domain.comparison import IN_PROGRESS, Difference, differences, unpaid_difference
from payments.provider import ProviderRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from orderflow.aws.order_log import OrderLog
    from payments.provider import PaymentProvider

DAYS_AGO = (0, 1, 7, 30)
# Payments compared at the same time. Each takes about three requests of 0.2 s at Stripe, which accepts 25 a second in test mode and 100
# in live mode (https://docs.stripe.com/rate-limits); orders need the rest.
AT_ONCE = 4


class NotAllCompared(RuntimeError):
    """Some payments could not be compared."""


class Reconciliation(Struct, frozen=True):
    """The numbers of payments compared, repaired, still different, and not compared because of a failure."""

    compared: int
    repaired: int
    different: int
    failed: int


def reconcile(log: OrderLog, provider: PaymentProvider, today: date) -> Reconciliation:
    """Reconcile the payments that are due for a comparison on `today` (UTC).

    A payment that cannot be compared is logged and counted; the others are compared.

    Raises:
        ProviderUnavailable: the provider did not list its payments.
    """

    def reconcile_order(order_id: str) -> str:
        return _reconcile_order(log, provider, order_id)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(reconcile_order, _order_ids(provider, today)))
    return Reconciliation(len(results), results.count("repaired"), results.count("different"), results.count("failed"))


def _order_ids(provider: PaymentProvider, today: date) -> Iterable[str]:
    keys = (key for days in DAYS_AGO for key in provider.recent(today - timedelta(days=days)))
    return dict.fromkeys(_order_ids_of(keys))


def _order_ids_of(keys: Iterable[str]) -> Iterator[str]:
    """Yield the order ids of this pipeline's payments; the provider's account may have others."""
    yield from (order_id for key in keys if (order_id := payment_keys.order_id_of(key)))


def _reconcile_order(log: OrderLog, provider: PaymentProvider, order_id: str) -> str:
    try:
        _record_disputes(log, provider, order_id)
        before = _differences(log, provider, order_id)
        if before is None:
            return "same"
        _repair(log, provider, order_id)
        remaining = _differences(log, provider, order_id) or ()
    except OrderNotFound:
        remaining = (Difference("order", order_id, None),)
    except Exception:  # noqa: BLE001 - one failing order must not block the others
        logger.exception("payment_comparison_failed", order_id=order_id)
        return "failed"
    for one in remaining:
        logger.error("payment_differs", order_id=order_id, what=one.field, provider=one.provider, log=one.log)
    if not remaining:
        logger.warning("payment_repaired", order_id=order_id)
    return "different" if remaining else "repaired"


def _record_disputes(log: OrderLog, provider: PaymentProvider, order_id: str) -> None:
    """Record the provider's current disputes, in case a webhook was lost."""
    for dispute in provider.disputes(payment_keys.payment_key(order_id)):
        webhook_consumer.record_dispute(log, order_id, dispute)


def _repair(log: OrderLog, provider: PaymentProvider, order_id: str) -> None:
    try:
        settlement_service.record_failed_refunds(log, provider, order_id)
        settlement_service.settle(log, provider, order_id)
    except (ProviderRefused, settlement_service.InconsistentPayment, settlement_service.RefundFailed) as error:
        logger.error("payment_repair_failed", order_id=order_id, error=str(error))


def _differences(log: OrderLog, provider: PaymentProvider, order_id: str) -> tuple[Difference, ...] | None:
    """Return the differences between provider and log, or None if there are none and nothing is due."""
    order, payment = log.load(order_id), provider.look_up(payment_keys.payment_key(order_id))
    found = (*differences(order, payment), *unpaid_difference(order, payment))
    return found if found or (amounts_due.due(order) and order.state not in IN_PROGRESS) else None
