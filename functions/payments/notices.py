"""What follows from what the payment provider tells: disputes are recorded, everything else only leads to a look at the order.

A message may come twice, late, and before the order's own events. What it says is there already, or can be had by
settling, is well; what is not there yet raises, so that the message comes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.commands import CloseDispute, Command, RecordDispute, Refusal, RequestCancellation, decide
from orderflow.observability import logger
from payments import service
from payments.messages import Captured, Decided, Disputed, Expired, Notice, Refunded
from payments.provider import Voided

if TYPE_CHECKING:
    from orderflow.log import OrderLog
    from orderflow.order import Order
    from payments.provider import PaymentProvider

EXPIRED = "the payment's authorization expired"


class NotYet(RuntimeError):
    """The order does not have what the message is about; it may later."""


def take(log: OrderLog, provider: PaymentProvider, notice: Notice) -> None:
    """Bring the order in line with a message about its payment.

    Raises:
        NotYet: the order is not where the message takes it to be, or the payment is none of ours.
        OrderNotFound: the order is not there.
        service.NotPossible, ProviderRefused, ProviderTimeout, ProviderUnavailable: as service.settle.
    """
    order_id = service.order_of(notice.payment)
    if order_id is None:
        message = f"{notice.payment} is no payment of an order"
        raise NotYet(message)
    match notice:
        case Captured() | Refunded():
            _moved(service.settle(log, provider, order_id), notice)
        case Disputed(dispute_id=dispute_id, amount=amount, reason=reason):
            _record(log, service.settle(log, provider, order_id), RecordDispute(dispute_id, amount, reason))
        case Decided(dispute_id=dispute_id, outcome=outcome):
            _record(log, log.load(order_id), CloseDispute(dispute_id, outcome))
            service.settle(log, provider, order_id)
        case Expired():
            _expired(log, provider, order_id)


def _moved(order: Order, notice: Captured | Refunded) -> None:
    known = (
        any(parcel.capture_id == notice.capture_id for parcel in order.parcels)
        if isinstance(notice, Captured)
        else notice.key in service.refund_keys(order)
    )
    if not known:
        message = f"{order.order_id} has nothing of {notice.payment} that was moved as message {notice.message_id} says"
        raise NotYet(message)


def _record(log: OrderLog, order: Order, command: Command) -> None:
    after = log.record(order, command, source="payments")
    facts = decide(after, command)
    if isinstance(facts, Refusal):
        raise NotYet(facts.why)


def _expired(log: OrderLog, provider: PaymentProvider, order_id: str) -> None:
    """Stop an order that nothing is held for any more: what has not left does not leave unpaid."""
    order = log.load(order_id)
    if not isinstance(provider.look_up(service.payment_key(order_id)), Voided):
        logger.info("nothing expired")
        return
    if order.payment == "none" and order.state == "placed":
        message = f"{order_id} does not know yet what was authorized for it"
        raise NotYet(message)
    order = service.settle(log, provider, order_id)
    if order.payment == "authorized":
        logger.warning("what was held expired, so the order is cancelled", state=order.state)
        log.record(order, RequestCancellation("operator", EXPIRED), source="payments")
