"""Comparing what the provider has of recent payments with what their orders have, and mending what can be mended safely.

A payment is looked at on the day of its order, a day, a week and thirty days later: while its saga ran, when most parcels
have left, when a hold is about to lapse, and when returns are over. So is one that was refunded or disputed, by the day of
that: a refund can fail weeks after its order. That is a few looks for each order, however long orders live. What is due is
done as if an event had said so, disputes and failed refunds are recorded; what differs after that is for a person.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.aws.observability import logger
from orderflow.aws.order_log import OrderNotFound
from payments import settlement_service, webhook_consumer
from payments.domain import amounts_due
from payments.domain.comparison import IN_PROGRESS, Difference, differences, unpaid_difference
from payments.provider import ProviderRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from orderflow.aws.order_log import OrderLog
    from payments.provider import PaymentProvider

DAYS_AGO = (0, 1, 7, 30)


class NotAllCompared(RuntimeError):
    """Some payments could not be compared."""


class Reconciliation(Struct, frozen=True):
    """How many payments were compared, how many orders of them mended, differ still, and could not be looked at."""

    compared: int
    repaired: int
    different: int
    failed: int


def reconcile(log: OrderLog, provider: PaymentProvider, today: date) -> Reconciliation:
    """Compare the payments of the days that are looked at on `today` (UTC).

    One that cannot be compared is logged and counted, the others go on.

    Raises:
        ProviderUnavailable: the provider does not list its payments.
    """
    results = [_reconcile_order(log, provider, order_id) for order_id in _order_ids(provider, today)]
    return Reconciliation(len(results), results.count("repaired"), results.count("different"), results.count("failed"))


def _order_ids(provider: PaymentProvider, today: date) -> Iterable[str]:
    keys = (key for days in DAYS_AGO for key in provider.recent(today - timedelta(days=days)))
    return dict.fromkeys(_order_ids_of(keys))


def _order_ids_of(keys: Iterable[str]) -> Iterator[str]:
    """Yield whose payments these are; an account at a provider may have others that are none of ours."""
    yield from (order_id for key in keys if (order_id := settlement_service.order_id_of(key)))


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
    except Exception:  # noqa: BLE001 - whatever is wrong with one order must not keep the others waiting
        logger.exception("payment not compared", order_id=order_id)
        return "failed"
    for one in remaining:
        logger.error("payment differs", order_id=order_id, what=one.field, provider=one.provider, log=one.log)
    if not remaining:
        logger.warning("payment repaired", order_id=order_id)
    return "different" if remaining else "repaired"


def _record_disputes(log: OrderLog, provider: PaymentProvider, order_id: str) -> None:
    """Take what the provider says of disputes now, in case a message about them was lost."""
    for said in provider.disputes(settlement_service.payment_key(order_id)):
        webhook_consumer.record_dispute(log, order_id, said)


def _repair(log: OrderLog, provider: PaymentProvider, order_id: str) -> None:
    try:
        settlement_service.record_failed_refunds(log, provider, order_id)
        settlement_service.settle(log, provider, order_id)
    except (ProviderRefused, settlement_service.InconsistentPayment, settlement_service.RefundFailed) as error:
        logger.error("payment not repaired", order_id=order_id, error=str(error))


def _differences(log: OrderLog, provider: PaymentProvider, order_id: str) -> tuple[Difference, ...] | None:
    """Return in what provider and log differ, None where they do not and nothing is due."""
    order, payment = log.load(order_id), provider.look_up(settlement_service.payment_key(order_id))
    found = (*differences(order, payment), *unpaid_difference(order, payment))
    return found if found or (amounts_due.due(order) and order.state not in IN_PROGRESS) else None
