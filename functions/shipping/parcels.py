"""Putting on an order's log what the carrier tells of its parcels and returns.

The log's own rules make a message that comes twice do nothing. One that the order does not allow,
such as the delivery of a parcel that nobody dispatched, is raised: its queue brings it again, when
what was missing may have come, and in the end leaves it to a person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.commands import Command, RecordDelivery, RecordDispatch, RecordLoss, RecordReturn, Refusal, decide
from orderflow.observability import identify, logger
from shipping.messages import Delivered, Dispatched, Lost, Picked, Returned, Told
from shipping.shipments import order_of

if TYPE_CHECKING:
    from orderflow.log import OrderLog
    from orderflow.order import Order


class NotAllowed(RuntimeError):
    """The order does not allow what the carrier tells, at least not yet."""


def record(log: OrderLog, message: Told) -> None:
    """Record what the carrier tells, unless the order knows of it.

    Raises:
        UnknownShipment, OrderNotFound: the shipment is not one of ours.
        NotAllowed: the order's rules refuse it, or the parcel is known with other lines.
    """
    order_id = order_of(message.shipment_id)
    identify(order_id=order_id)
    command = _command(message)
    if command is None:
        logger.info("told by the carrier", what=type(message).__name__)
        return
    read = log.load(order_id, at_least=1)
    order = _recorded(log, read, command)
    if isinstance(order, Refusal):
        # What was read was maybe not the latest.
        order = _recorded(log, log.refresh(read), command)
    if isinstance(order, Refusal):
        raise NotAllowed(order.why)
    if isinstance(message, Dispatched):
        _same_lines(order, message)


def _recorded(log: OrderLog, order: Order, command: Command) -> Order | Refusal:
    order = log.record(order, command, source="shipping")
    decided = decide(order, command)
    return decided if isinstance(decided, Refusal) else order


def _command(message: Told) -> Command | None:
    match message:
        case Picked():
            return None
        case Dispatched(parcel_id=parcel_id, lines=lines):
            return RecordDispatch(parcel_id, lines)
        case Delivered(parcel_id=parcel_id):
            return RecordDelivery(parcel_id)
        case Lost(parcel_id=parcel_id):
            return RecordLoss(parcel_id)
        case Returned(return_id=return_id):
            return RecordReturn(return_id)


def _same_lines(order: Order, message: Dispatched) -> None:
    known = next(parcel for parcel in order.parcels if parcel.parcel_id == message.parcel_id)
    if known.lines != message.lines:
        error = f"parcel {message.parcel_id} left before, with other lines"
        raise NotAllowed(error)
