"""Processes the payment provider's webhook events: records disputes and failed refunds, and settles the payment.

An event may arrive twice, late, or before the order's own events. An event whose effect the log has, or gets by
settling, is processed; otherwise it raises, so the queue retries it. A dispute of any amount and currency is recorded;
an operator is alerted if it exceeds the payment.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orderflow.aws.observability import logger
from orderflow.aws.order_log import Recorded, Refused
from orderflow.domain.commands import CloseDispute, Command, RecordDispute, ReopenDispute, RequestCancellation
from payments import operator_alerts, settlement_service
from payments.domain import payment_keys
from payments.domain.webhook_events import Captured, Decided, Disputed, Expired, Refunded, RefundFailed, Reopened, WebhookEvent
from payments.provider import Voided

if TYPE_CHECKING:
    from orderflow.aws.order_log import OrderLog
    from orderflow.domain.order import Order
    from payments.provider import PaymentProvider

CANCELLATION_REASON = "the payment's authorization expired"


class OutOfOrder(RuntimeError):
    """The event arrived before the order's events that it refers to; a later retry can succeed."""


def process(log: OrderLog, provider: PaymentProvider, event: WebhookEvent) -> None:
    """Process a webhook event about an order's payment.

    Raises:
        OutOfOrder: the log lacks the capture, refund or dispute, or the payment is not of this pipeline.
        OrderNotFound: the order is unknown.
        InconsistentPayment, RefundFailed, ProviderRefused, ProviderTimeout, ProviderUnavailable: as settle raises.
    """
    order_id = payment_keys.order_id_of(event.payment)
    if order_id is None:
        message = f"payment {event.payment} is not a payment of this pipeline"
        raise OutOfOrder(message)
    match event:
        case Captured() | Refunded():
            _require_recorded(settlement_service.settle(log, provider, order_id), event)
        case RefundFailed():
            settlement_service.record_failed_refunds(log, provider, order_id)
            settlement_service.settle(log, provider, order_id)
        case Disputed() | Reopened():
            record_dispute(log, order_id, event)
        case Decided():
            record_dispute(log, order_id, event)
            settlement_service.settle(log, provider, order_id)
        case Expired():
            _cancel_expired(log, provider, order_id)


def record_dispute(log: OrderLog, order_id: str, event: WebhookEvent) -> None:
    """Record a dispute, its outcome or its reopening; other events have no effect.

    Raises:
        OutOfOrder: the order has no payment, or does not have the dispute.
        OrderNotFound: the order is unknown.
    """
    match event:
        case Disputed():
            _record_opened_dispute(log, log.load(order_id), event)
        case Decided(dispute_id=dispute_id, outcome=outcome, at=at):
            _record(log, log.load(order_id), CloseDispute(dispute_id, outcome, _no_later_than_now(at)), at)
        case Reopened(dispute_id=dispute_id, at=at):
            _record(log, log.load(order_id), ReopenDispute(dispute_id, _no_later_than_now(at)), at)
        case _:
            pass


def _require_recorded(order: Order, event: Captured | Refunded) -> None:
    known = (
        any(parcel.capture_id == event.capture_id for parcel in order.parcels)
        if isinstance(event, Captured)
        else event.key in payment_keys.refund_keys(order)
    )
    if not known:
        message = f"{order.order_id} has not recorded the capture or refund of {event.payment} in webhook event {event.message_id}"
        raise OutOfOrder(message)


def _record_opened_dispute(log: OrderLog, order: Order, event: Disputed) -> None:
    left = order.net_captured
    recorded = _record(log, order, RecordDispute(event.dispute_id, event.amount, event.reason), event.at)
    fits = event.amount.currency == order.total.currency and event.amount.amount <= left
    if recorded.events and not fits:
        operator_alerts.alert_operator("dispute_exceeds_payment", dispute_id=event.dispute_id, disputed=event.amount, left=left)


def _no_later_than_now(at: datetime | None) -> datetime | None:
    """Return the time of a decision, now at the latest: a decision from the future would outrank all later ones."""
    return min(at, datetime.now(UTC)) if at else None


def _record(log: OrderLog, order: Order, command: Command, at: datetime | None = None) -> Recorded:
    result = log.record(order, command, source="payments", occurred_at=at)
    if isinstance(result, Refused):
        raise OutOfOrder(result.refusal.why)
    return result


def _cancel_expired(log: OrderLog, provider: PaymentProvider, order_id: str) -> None:
    """Cancel an order whose authorization expired, so that nothing is dispatched without payment."""
    order = log.load(order_id)
    if not isinstance(provider.look_up(payment_keys.payment_key(order_id)), Voided):
        logger.info("authorization_not_expired")
        return
    if order.payment == "none" and order.state == "placed":
        message = f"the authorization of order {order_id} is not recorded yet"
        raise OutOfOrder(message)
    order = settlement_service.settle(log, provider, order_id)
    if order.payment == "authorized":
        logger.warning("authorization_expired", state=order.state)
        log.record(order, RequestCancellation("operator", CANCELLATION_REASON), source="payments")
