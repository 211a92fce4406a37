"""What follows from the payment provider's messages: disputes and failed refunds are recorded, the others lead to settling.

A message may come twice, late, and before the order's own events. What it says is there already, or can be had by
settling, is well; what is not there yet raises, so that the message comes again. A dispute is a fact of the bank: it is
recorded whatever its amount and currency, and a person is told of one that does not fit the payment.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orderflow.aws.observability import logger
from orderflow.aws.order_log import Recorded, Refused
from orderflow.domain.commands import CloseDispute, Command, RecordDispute, ReopenDispute, RequestCancellation
from payments import operator_alerts, settlement_service
from payments.domain.webhook_events import Captured, Decided, Disputed, Expired, Refunded, RefundFailed, Reopened, WebhookEvent
from payments.provider import Voided

if TYPE_CHECKING:
    from orderflow.aws.order_log import OrderLog
    from orderflow.domain.order import Order
    from payments.provider import PaymentProvider

CANCELLATION_REASON = "the payment's authorization expired"


class OutOfOrder(RuntimeError):
    """The order does not have what the message is about; it may later."""


def process(log: OrderLog, provider: PaymentProvider, event: WebhookEvent) -> None:
    """Bring the order in line with a message about its payment.

    Raises:
        OutOfOrder: the order is not where the message takes it to be, or the payment is none of ours.
        OrderNotFound: the order is not there.
        InconsistentPayment, RefundFailed, ProviderRefused, ProviderTimeout, ProviderUnavailable: as settle raises.
    """
    order_id = settlement_service.order_id_of(event.payment)
    if order_id is None:
        message = f"{event.payment} is no payment of an order"
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


def record_dispute(log: OrderLog, order_id: str, notice: WebhookEvent) -> None:
    """Record a dispute, or its outcome; other messages have no effect.

    Raises:
        OutOfOrder: the order had no payment, or does not know the dispute.
        OrderNotFound: the order is not there.
    """
    match notice:
        case Disputed():
            _record_opened_dispute(log, log.load(order_id), notice)
        case Decided(dispute_id=dispute_id, outcome=outcome, at=at):
            _record(log, log.load(order_id), CloseDispute(dispute_id, outcome, _no_later_than_now(at)), at)
        case Reopened(dispute_id=dispute_id, at=at):
            _record(log, log.load(order_id), ReopenDispute(dispute_id, _no_later_than_now(at)), at)
        case _:
            pass


def _require_recorded(order: Order, notice: Captured | Refunded) -> None:
    known = (
        any(parcel.capture_id == notice.capture_id for parcel in order.parcels)
        if isinstance(notice, Captured)
        else notice.key in settlement_service.refund_keys(order)
    )
    if not known:
        message = f"{order.order_id} has nothing of {notice.payment} that was moved as message {notice.message_id} says"
        raise OutOfOrder(message)


def _record_opened_dispute(log: OrderLog, order: Order, notice: Disputed) -> None:
    left = order.net_captured
    recorded = _record(log, order, RecordDispute(notice.dispute_id, notice.amount, notice.reason), notice.at)
    fits = notice.amount.currency == order.total.currency and notice.amount.amount <= left
    if recorded.events and not fits:
        operator_alerts.alert_operator("dispute_exceeds_payment", dispute_id=notice.dispute_id, disputed=notice.amount, left=left)


def _no_later_than_now(at: datetime | None) -> datetime | None:
    """Return when a decision was made, now at the latest: one of the year 9999 would count before all later ones."""
    return min(at, datetime.now(UTC)) if at else None


def _record(log: OrderLog, order: Order, command: Command, at: datetime | None = None) -> Recorded:
    result = log.record(order, command, source="payments", occurred_at=at)
    if isinstance(result, Refused):
        raise OutOfOrder(result.refusal.why)
    return result


def _cancel_expired(log: OrderLog, provider: PaymentProvider, order_id: str) -> None:
    """Stop an order that nothing is held for any more: what has not left does not leave unpaid."""
    order = log.load(order_id)
    if not isinstance(provider.look_up(settlement_service.payment_key(order_id)), Voided):
        logger.info("nothing expired")
        return
    if order.payment == "none" and order.state == "placed":
        message = f"{order_id} does not know yet what was authorized for it"
        raise OutOfOrder(message)
    order = settlement_service.settle(log, provider, order_id)
    if order.payment == "authorized":
        logger.warning("what was held expired, so the order is cancelled", state=order.state)
        log.record(order, RequestCancellation("operator", CANCELLATION_REASON), source="payments")
