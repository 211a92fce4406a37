"""Putting on an order's log what the carrier tells of its parcels and returns.

The log's own rules make a message that comes twice do nothing. One that the order does not allow,
such as the delivery of a parcel that nobody dispatched, is raised: its queue brings it again, when
what was missing may have come, and in the end leaves it to a person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orderflow.aws.observability import identify, logger
from orderflow.aws.order_log import Refused
from orderflow.domain import documents
from orderflow.domain.commands import Command, RecordDelivery, RecordDispatch, RecordLoss, RecordReturn
from shipping.domain.carrier_events import CarrierEvent, Delivered, Dispatched, Lost, Picked, Returned
from shipping.shipments import order_id_of

if TYPE_CHECKING:
    from orderflow.aws.order_log import OrderLog
    from orderflow.domain.order import Order


class CarrierEventRefused(RuntimeError):
    """The order does not allow what the carrier tells, at least not yet."""


def record(log: OrderLog, event: CarrierEvent) -> None:
    """Record what the carrier tells, as of when it says, unless the order knows of it.

    Raises:
        UnknownShipment, OrderNotFound: the shipment is not one of ours.
        CarrierEventRefused: the order's rules refuse it, or the parcel is known with other lines.
    """
    order_id = order_id_of(event.shipment_id)
    identify(order_id=order_id)
    if isinstance(event, Picked):
        logger.info("told by the carrier", what=type(event).__name__)
        return
    if event.occurred_at is None:
        logger.warning("reported_time_unreadable", order_id=order_id, type=type(event).__name__, reported=event.at)
    read = log.load(order_id, min_version=1)
    event = _with_known_parcel_id(read, event)
    command = _command(event)
    result = log.record(read, command, source="shipping", occurred_at=event.occurred_at)
    if isinstance(result, Refused):
        # The first read was eventually consistent: decide on the latest version before the event is refused.
        result = log.record(log.refresh(read), command, source="shipping", occurred_at=event.occurred_at)
    if isinstance(result, Refused):
        raise CarrierEventRefused(result.refusal.why)
    if isinstance(event, Dispatched):
        _require_same_lines(result.order, event)


def _with_known_parcel_id(order: Order, message: Dispatched | Delivered | Lost | Returned) -> Dispatched | Delivered | Lost | Returned:
    """Return a message with the id of its parcel as the order has it: versions up to 1.0 did not trim ids."""
    if isinstance(message, Returned) or order.parcels.get(message.parcel_id):
        return message
    wanted = documents.cleaned(message.parcel_id)
    known = (parcel.parcel_id for parcel in order.parcels if documents.cleaned(parcel.parcel_id) == wanted)
    return replace(message, parcel_id=next(known, message.parcel_id))


def _command(message: Dispatched | Delivered | Lost | Returned) -> Command:
    match message:
        case Dispatched(parcel_id=parcel_id, lines=lines):
            return RecordDispatch(parcel_id, lines)
        case Delivered(parcel_id=parcel_id):
            return RecordDelivery(parcel_id)
        case Lost(parcel_id=parcel_id):
            return RecordLoss(parcel_id)
        case Returned(return_id=return_id):
            return RecordReturn(return_id)


def _require_same_lines(order: Order, message: Dispatched) -> None:
    known = next(parcel for parcel in order.parcels if parcel.parcel_id == message.parcel_id)
    if known.lines != message.lines:
        error = f"parcel {message.parcel_id} left before, with other lines"
        raise CarrierEventRefused(error)
