"""Asking the carrier for an order's shipment, and stopping it, so that doing either again, at any time, is harmless.

The shipment's id is made of the order id, so however often it is asked for there is one shipment. A
recall closes that id at the carrier, also when the log knows of no request: one that is still under
way comes back recalled, and is not recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

from orderflow.aws.observability import logger
from orderflow.domain.commands import FailCancellation, RecordDispatch, RecordRecall, RecordShipment
from orderflow.domain.order import Order, remaining, saga_blocker, stock_lines
from shipping.carrier import Carrier, CarrierTimeout, Parcel, Shipment

if TYPE_CHECKING:
    from orderflow.aws.order_log import OrderLog

RecallOutcome = Literal["recalled", "nothing_to_recall", "too_late", "inactive"]

_SOURCE = "shipping"


class InconsistentShipment(RuntimeError):
    """The order or its shipment is not where it has to be: a step was left out, or the two disagree."""


class UnknownShipment(ValueError):
    """An id is not one of our shipments."""


def shipment_id(order_id: str) -> str:
    """Return the id under which the carrier has the order's shipment."""
    return f"{order_id}:shipment"


def order_id_of(shipment: str) -> str:
    """Return the id of the order whose shipment has this id.

    Raises:
        UnknownShipment: it is no id of a shipment that we ask for.
    """
    order_id, _, kind = shipment.rpartition(":")
    if kind != "shipment" or not order_id:
        raise UnknownShipment(shipment)
    return order_id


def request(log: OrderLog, carrier: Carrier, order_id: str) -> None:
    """Have the carrier fetch and bring an order, where that is due and was not asked for yet.

    Raises:
        OrderNotFound: there is no such order.
        NotPossible: the carrier was told to recall what is still to be shipped; the order may be about to be cancelled.
        CarrierRefused: the shipment's id has other lines or another address at the carrier.
        CarrierTimeout: no answer, and the carrier knows nothing of the shipment.
        CarrierUnavailable: the carrier takes no requests.
    """
    order = log.load(order_id)
    if not is_due(order):
        logger.info("no shipment is due", state=order.state, shipment=order.shipment)
        return
    shipment = _request_from_carrier(carrier, order)
    if shipment.recalled:
        _raise_inconsistent(order, "the carrier has recalled it")
    log.record(order, RecordShipment(shipment_id(order_id)), source=_SOURCE)


def is_due(order: Order) -> bool:
    """Tell whether the order is to be shipped and the log does not know that the carrier was asked."""
    return order.state in {"confirmed", "partly_dispatched"} and order.shipment == "none"


def recall(log: OrderLog, carrier: Carrier, order_id: str) -> RecallOutcome:
    """Stop what has not left of an order that is being cancelled, and record what has.

    `too_late` is an order of which nothing can be stopped any more: its cancellation has failed.

    Raises:
        OrderNotFound: there is no such order.
        NotPossible: nobody cancelled the order, or the carrier says that something left which is not the order's.
        CarrierTimeout: no answer, and the shipment is not recalled at the carrier.
        CarrierUnavailable: the carrier takes no requests.
    """
    order = log.load(order_id)
    if known := _known_outcome(order):
        return known
    shipment = _recall_at_carrier(carrier, shipment_id(order_id))
    for parcel in shipment.parcels:
        order = _record_dispatch(log, order, parcel)
    if shipment.recalled and remaining(order):
        order = log.record(order, RecordRecall(shipment_id(order_id)), source=_SOURCE).order
        return _known_outcome(order) or _raise_inconsistent(order, "its recall was refused")
    why = "nothing of the shipment can be stopped any more" if remaining(order) else "everything has left"
    order = log.record(order, FailCancellation(why), source=_SOURCE).order
    return "too_late" if saga_blocker(order) == "inactive" else _raise_inconsistent(order, "its cancellation cannot fail")


def _known_outcome(order: Order) -> RecallOutcome | None:
    """Return what the log says of the order's recall, or None when the carrier is still to be asked."""
    if saga_blocker(order) == "inactive":
        return "inactive"
    if order.state != "cancelling":
        _raise_inconsistent(order, "an order is cancelled before its shipment is recalled")
    if not order.confirmed_at:
        return "nothing_to_recall"
    return "recalled" if order.shipment == "recalled" else None


def _request_from_carrier(carrier: Carrier, order: Order) -> Shipment:
    wanted = shipment_id(order.order_id)
    try:
        return carrier.request(wanted, stock_lines(order), order.shipping_address)
    except CarrierTimeout:
        shipment = carrier.look_up(wanted)
        logger.warning("no answer from the carrier", known_there=shipment is not None)
        if shipment is None:
            raise
        return shipment


def _recall_at_carrier(carrier: Carrier, wanted: str) -> Shipment:
    try:
        return carrier.recall(wanted)
    except CarrierTimeout:
        shipment = carrier.look_up(wanted)
        logger.warning("no answer from the carrier", recalled_there=shipment is not None and shipment.recalled)
        if shipment is None or not shipment.recalled:
            raise
        return shipment


def _record_dispatch(log: OrderLog, order: Order, parcel: Parcel) -> Order:
    after = log.record(order, RecordDispatch(parcel.parcel_id, parcel.lines), source=_SOURCE).order
    if all(known.parcel_id != parcel.parcel_id for known in after.parcels):
        _raise_inconsistent(after, f"the carrier says that parcel {parcel.parcel_id} left, which the order does not allow")
    return after


def _raise_inconsistent(order: Order, why: str) -> NoReturn:
    message = f"{order.order_id} is {order.state} with shipment {order.shipment}: {why}"
    raise InconsistentShipment(message)
