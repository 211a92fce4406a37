"""Requests and recalls an order's shipment. Both are idempotent and can be re-run at any time.

The shipment id is derived from the order id, so every request is for the same shipment. A recall closes that id
at the carrier even if the log has no request: a request still in flight then returns `recalled` and is not recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

from orderflow.aws.observability import logger
from orderflow.aws.order_log import Refused
from orderflow.domain.commands import FailCancellation, RecordDispatch, RecordRecall, RecordShipment
from orderflow.domain.order import Order, remaining, saga_blocker, stock_lines
from shipping.carrier import Carrier, CarrierTimeout, Parcel, Shipment

if TYPE_CHECKING:
    from orderflow.aws.order_log import OrderLog

RecallOutcome = Literal["recalled", "nothing_to_recall", "too_late", "inactive"]

_SOURCE = "shipping"


class InconsistentShipment(RuntimeError):
    """The order and its shipment disagree, or a step was skipped."""


class UnknownShipment(ValueError):
    """The id is not a shipment id of this pipeline."""


def shipment_id(order_id: str) -> str:
    """Return the carrier's id for the order's shipment."""
    return f"{order_id}:shipment"


def order_id_of(shipment_id: str) -> str:
    """Return the order id of a shipment id.

    Raises:
        UnknownShipment: the id is not a shipment id of this pipeline.
    """
    order_id, _, kind = shipment_id.rpartition(":")
    if kind != "shipment" or not order_id:
        raise UnknownShipment(shipment_id)
    return order_id


def request(log: OrderLog, carrier: Carrier, order_id: str) -> None:
    """Request the order's shipment from the carrier, if it is due.

    Raises:
        OrderNotFound: there is no such order.
        InconsistentShipment: the shipment is recalled although the order is to be shipped; a cancellation may be in progress.
        CarrierRefused: the carrier has the shipment id with other lines or another address.
        CarrierTimeout: the carrier did not answer and does not know the shipment.
        CarrierUnavailable: the carrier does not accept requests.
    """
    order = log.load(order_id)
    if not is_due(order):
        logger.info("shipment_not_due", state=order.state, shipment=order.shipment)
        return
    shipment = _request_from_carrier(carrier, order)
    if shipment.recalled:
        _raise_inconsistent(order, "the carrier has recalled the shipment")
    log.record(order, RecordShipment(shipment_id(order_id)), source=_SOURCE)


def is_due(order: Order) -> bool:
    """Return whether the order must be shipped and the log has no request."""
    return order.state in {"confirmed", "partly_dispatched"} and order.shipment == "none"


def recall(log: OrderLog, carrier: Carrier, order_id: str) -> RecallOutcome:
    """Recall the rest of a cancelled order's shipment, and record the parcels that were dispatched.

    Returns `too_late` if nothing can be stopped any more: the cancellation has failed.

    Raises:
        OrderNotFound: there is no such order.
        InconsistentShipment: the order is not being cancelled, or has too many parcels.
        CarrierTimeout: the carrier did not answer and has not recalled the shipment.
        CarrierUnavailable: the carrier does not accept requests.
    """
    order = log.load(order_id)
    if known := _known_outcome(order):
        return known
    shipment = _recall_at_carrier(carrier, shipment_id(order_id))
    for parcel in shipment.parcels:
        order = _record_dispatch(log, order, parcel)
    if shipment.recalled and remaining(order):
        order = log.record(order, RecordRecall(shipment_id(order_id)), source=_SOURCE).order
        return _known_outcome(order) or _raise_inconsistent(order, "the order refused the recall")
    reason = "nothing of the shipment can be stopped any more" if remaining(order) else "everything was dispatched"
    order = log.record(order, FailCancellation(reason), source=_SOURCE).order
    return "too_late" if saga_blocker(order) == "inactive" else _raise_inconsistent(order, "the order refused to fail the cancellation")


def _known_outcome(order: Order) -> RecallOutcome | None:
    """Return the recorded outcome of the recall, or None if the carrier has to be asked."""
    if saga_blocker(order) == "inactive":
        return "inactive"
    if order.state != "cancelling":
        _raise_inconsistent(order, "only the shipment of a cancelled order can be recalled")
    if not order.confirmed_at:
        return "nothing_to_recall"
    return "recalled" if order.shipment == "recalled" else None


def _request_from_carrier(carrier: Carrier, order: Order) -> Shipment:
    wanted = shipment_id(order.order_id)
    try:
        return carrier.request(wanted, stock_lines(order), order.shipping_address)
    except CarrierTimeout:
        shipment = carrier.look_up(wanted)
        logger.warning("carrier_timed_out", request="shipment", took_effect=shipment is not None)
        if shipment is None:
            raise
        return shipment


def _recall_at_carrier(carrier: Carrier, wanted: str) -> Shipment:
    try:
        return carrier.recall(wanted)
    except CarrierTimeout:
        shipment = carrier.look_up(wanted)
        logger.warning("carrier_timed_out", request="recall", took_effect=shipment is not None and shipment.recalled)
        if shipment is None or not shipment.recalled:
            raise
        return shipment


def _record_dispatch(log: OrderLog, order: Order, parcel: Parcel) -> Order:
    result = log.record(order, RecordDispatch(parcel.parcel_id, parcel.lines), source=_SOURCE)
    if isinstance(result, Refused):
        _raise_inconsistent(result.order, result.refusal.why)
    return result.order


def _raise_inconsistent(order: Order, reason: str) -> NoReturn:
    message = f"order {order.order_id} is {order.state} with shipment {order.shipment}: {reason}"
    raise InconsistentShipment(message)
