"""Records the carrier's events on the order log.

The order's rules ignore a repeated event. An event that the order does not allow yet, such as the delivery
of a parcel before its dispatch, raises: its queue retries it, and finally dead-letters it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orderflow.aws.observability import annotate, logger
from orderflow.aws.order_log import Refused
from orderflow.domain import documents
from orderflow.domain.commands import Command, RecordDelivery, RecordDispatch, RecordLoss, RecordReturn
from shipping.domain.carrier_events import CarrierEvent, Delivered, Dispatched, Lost, Picked, Returned
from shipping.domain.parcel_watch import has_range
from shipping.shipments import order_id_of

if TYPE_CHECKING:
    from orderflow.aws.order_log import OrderLog
    from orderflow.domain.order import Order


class CarrierEventRefused(RuntimeError):
    """The order does not allow the carrier's event, at least not yet."""


def record(log: OrderLog, event: CarrierEvent) -> bool:
    """Record a carrier event with the carrier's time, and return whether it dispatched goods with a temperature range. Idempotent.

    Raises:
        UnknownShipment, OrderNotFound: the shipment does not belong to this pipeline.
        CarrierEventRefused: the order does not allow the event, at least not yet.
    """
    order_id = order_id_of(event.shipment_id)
    annotate(order_id=order_id)
    if isinstance(event, Picked):
        logger.info("carrier_event_received", type=type(event).__name__)
        return False
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
    parcel = result.order.parcels.get(event.parcel_id) if isinstance(event, Dispatched) else None
    return parcel is not None and has_range(result.order, parcel.lines)


def _with_known_parcel_id(order: Order, event: Dispatched | Delivered | Lost | Returned) -> Dispatched | Delivered | Lost | Returned:
    """Return the event with the parcel id as the order has it: versions up to 1.0 did not trim ids."""
    if isinstance(event, Returned) or order.parcels.get(event.parcel_id):
        return event
    wanted = documents.cleaned(event.parcel_id)
    known = (parcel.parcel_id for parcel in order.parcels if documents.cleaned(parcel.parcel_id) == wanted)
    return replace(event, parcel_id=next(known, event.parcel_id))


def _command(event: Dispatched | Delivered | Lost | Returned) -> Command:
    match event:
        case Dispatched(parcel_id=parcel_id, lines=lines):
            return RecordDispatch(parcel_id, lines)
        case Delivered(parcel_id=parcel_id):
            return RecordDelivery(parcel_id)
        case Lost(parcel_id=parcel_id):
            return RecordLoss(parcel_id)
        case Returned(return_id=return_id):
            return RecordReturn(return_id)
