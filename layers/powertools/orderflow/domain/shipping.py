"""Shipping: the shipment is requested from the carrier, and its parcels are dispatched, delivered or lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace

from orderflow.domain import quantities
from orderflow.domain.event import EventData
from orderflow.domain.money import Money
from orderflow.domain.order_state import SHIPPABLE, ContradictedParcel, Parcel, ParcelState, price, remaining, stock_lines
from orderflow.domain.quantities import covers, subtract
from orderflow.domain.registry import Command, decides, evolves, refuse, upcasts
from orderflow.domain.values import Customer, CustomerId, StockLine, drop_email

if TYPE_CHECKING:
    from orderflow.domain.event import Event
    from orderflow.domain.order_state import Order, State
    from orderflow.domain.parts import Parts
    from orderflow.domain.registry import Decision

# Far above real orders; it bounds the cost of folding and reading an order. The webhook event of a further parcel is dead-lettered,
# which raises an alarm.
MAX_PARCELS = 500


class ShipmentRequested(EventData, frozen=True):
    """The carrier accepted the shipment request."""

    shipment_id: str
    lines: tuple[StockLine, ...]


class ShipmentRecalled(EventData, frozen=True):
    """The carrier recalled the shipment: no further parcel will be dispatched."""

    shipment_id: str


class ShipmentDispatched(EventData, frozen=True):
    """A parcel was dispatched; `amount` is the price of its lines, `complete` whether it was the last parcel."""

    customer: Customer
    parcel_id: str
    lines: tuple[StockLine, ...]
    amount: Money
    complete: bool


class ShipmentDelivered(EventData, frozen=True):
    """A parcel was delivered; `complete` is true if no other parcel is in transit or still to be dispatched."""

    schema_version: ClassVar[int] = 2

    customer: CustomerId
    parcel_id: str
    lines: tuple[StockLine, ...]
    complete: bool


class ShipmentLost(EventData, frozen=True):
    """A parcel was lost; `amount`, the price of its lines, is due to the customer."""

    schema_version: ClassVar[int] = 2

    customer: CustomerId
    parcel_id: str
    lines: tuple[StockLine, ...]
    amount: Money


class ShipmentReportContradicted(EventData, frozen=True):
    """The carrier reported a parcel in a state that contradicts the order; `recorded` is the parcel's state in the order.

    A lost parcel was delivered, a delivered one lost, a parcel was dispatched again with other lines, or the order has no such lines
    left to dispatch: `recorded` is null then. `lines` are those of the report, or of the parcel. The order and its parcels stay as
    recorded, and no money moves. Operators decide.
    """

    schema_version: ClassVar[int] = 2

    customer: CustomerId
    parcel_id: str
    lines: tuple[StockLine, ...]
    recorded: ParcelState | None
    reported: ParcelState


upcasts(ShipmentDelivered, 1)(drop_email)
upcasts(ShipmentLost, 1)(drop_email)
upcasts(ShipmentReportContradicted, 1)(dict)


class RecordShipment(Command, frozen=True):
    """Record that the carrier accepted the shipment request."""

    shipment_id: str


class RecordRecall(Command, frozen=True):
    """Record that the carrier recalled the shipment."""

    shipment_id: str


class RecordDispatch(Command, frozen=True):
    """Record the dispatch of a parcel with these lines."""

    parcel_id: str
    lines: tuple[StockLine, ...]


class RecordDelivery(Command, frozen=True):
    """Record the delivery of a parcel."""

    parcel_id: str


class RecordLoss(Command, frozen=True):
    """Record that a parcel is lost."""

    parcel_id: str


@decides(RecordShipment)
def _request(order: Order, command: RecordShipment) -> Decision:
    if order.shipment != "none":
        return ()
    if not order.confirmed_at or order.state not in SHIPPABLE:
        return refuse(order, command)
    return (ShipmentRequested(command.shipment_id, stock_lines(order)),)


@decides(RecordRecall)
def _recall(order: Order, command: RecordRecall) -> Decision:
    if order.shipment == "recalled":
        return ()
    if order.state != "cancelling" or not order.confirmed_at or not remaining(order):
        return refuse(order, command)
    return (ShipmentRecalled(command.shipment_id),)


@decides(RecordDispatch)
def _dispatch(order: Order, command: RecordDispatch) -> Decision:
    if order.state == "new":
        return refuse(order, command)
    lines, left = command.lines, remaining(order)
    if parcel := order.parcels.get(command.parcel_id):
        # A carrier may repeat a report with its lines in another order, or a product on two lines.
        same = quantities.add({}, parcel.lines) == quantities.add({}, lines)
        return () if same else _contradiction(order, command, parcel.state, "dispatched", lines)
    if not order.confirmed_at or order.state not in SHIPPABLE or order.shipment == "recalled" or not lines or not covers(left, lines):
        return _contradiction(order, command, None, "dispatched", lines)
    if len(order.parcels) >= MAX_PARCELS:
        return refuse(order, command, f"an order has at most {MAX_PARCELS} parcels")
    return (ShipmentDispatched(order.customer, command.parcel_id, lines, price(order, lines), not subtract(left, lines)),)


@decides(RecordDelivery)
def _deliver(order: Order, command: RecordDelivery) -> Decision:
    parcel = order.parcels.get(command.parcel_id)
    if parcel is None or parcel.state != "dispatched":
        return _report(order, command, parcel, "delivered")
    complete = not remaining(order) and order.parcels_in_transit == 1
    return (ShipmentDelivered(CustomerId(order.customer.id), parcel.parcel_id, parcel.lines, complete),)


@decides(RecordLoss)
def _lose(order: Order, command: RecordLoss) -> Decision:
    parcel = order.parcels.get(command.parcel_id)
    if parcel is None or parcel.state != "dispatched":
        return _report(order, command, parcel, "lost")
    return (ShipmentLost(CustomerId(order.customer.id), parcel.parcel_id, parcel.lines, parcel.amount),)


def _report(order: Order, command: RecordDelivery | RecordLoss, parcel: Parcel | None, reported: ParcelState) -> Decision:
    """Decide on the end of a parcel that has ended or is unknown; the dispatch of an unknown one may be reported later."""
    if parcel is not None:
        return () if parcel.state == reported else _contradiction(order, command, parcel.state, reported, parcel.lines)
    unexpected = order.contradicted_parcels.get(command.parcel_id)
    return _contradiction(order, command, None, reported, unexpected.lines) if unexpected else refuse(order, command)


def _contradiction(
    order: Order,
    command: RecordDispatch | RecordDelivery | RecordLoss,
    recorded: ParcelState | None,
    reported: ParcelState,
    lines: tuple[StockLine, ...],
) -> Decision:
    """Record a report that contradicts the order; the same report of a parcel changes nothing when repeated."""
    known = order.contradicted_parcels.get(command.parcel_id)
    if known and reported in known.reported:
        return ()
    if known is None and len(order.contradicted_parcels) >= MAX_PARCELS:
        return refuse(order, command, f"an order has at most {MAX_PARCELS} contradicted parcels")
    return (ShipmentReportContradicted(CustomerId(order.customer.id), command.parcel_id, lines, recorded, reported),)


@evolves(ShipmentRequested, appended_by="shipping", stream_only=True)
def _requested(order: Order, _data: ShipmentRequested, _event: Event) -> Order:
    return replace(order, shipment="requested")


@evolves(ShipmentRecalled, appended_by="shipping")
def _recalled(order: Order, _data: ShipmentRecalled, _event: Event) -> Order:
    return replace(order, shipment="recalled")


@evolves(ShipmentDispatched, appended_by="shipping")
def _dispatched(order: Order, data: ShipmentDispatched, event: Event) -> Order:
    left_at = event.occurred_at if event.recorded_at else None
    parcel = Parcel(parcel_id=data.parcel_id, lines=data.lines, amount=data.amount, left_at=left_at)
    parcels, undispatched = order.parcels.put(data.parcel_id, parcel), quantities.deduct(order.undispatched, data.lines)
    return with_goods_state(order, parcels=parcels, undispatched=undispatched, parcels_in_transit=order.parcels_in_transit + 1)


@evolves(ShipmentDelivered, appended_by="shipping")
def _delivered(order: Order, data: ShipmentDelivered, event: Event) -> Order:
    return with_goods_state(
        order,
        parcels=changed_parcel(order, data.parcel_id, state="delivered", delivered_at=event.occurred_at),
        parcels_in_transit=order.parcels_in_transit - 1,
        delivered=quantities.add(order.delivered, data.lines),
        returnable=quantities.add(order.returnable, data.lines),
        unreturned=quantities.add(order.unreturned, data.lines),
    )


@evolves(ShipmentLost, appended_by="shipping")
def _lost(order: Order, data: ShipmentLost, _event: Event) -> Order:
    parcels = changed_parcel(order, data.parcel_id, state="lost")
    return with_goods_state(order, parcels=parcels, parcels_in_transit=order.parcels_in_transit - 1)


@evolves(ShipmentReportContradicted, appended_by="shipping")
def _contradicted(order: Order, data: ShipmentReportContradicted, _event: Event) -> Order:
    known = order.contradicted_parcels.get(data.parcel_id) or ContradictedParcel(data.parcel_id, data.lines, ())
    contradicted = order.contradicted_parcels.put(data.parcel_id, replace(known, reported=(*known.reported, data.reported)))
    return replace(order, contradicted_parcels=contradicted)


def changed_parcel(order: Order, parcel_id: str, **changes: Any) -> Parts[Parcel]:
    """Return the order's parcels with changes to one of them; an unknown parcel changes nothing."""
    known = order.parcels.get(parcel_id)
    return order.parcels.put(parcel_id, replace(known, **changes)) if known else order.parcels


def with_goods_state(order: Order, **changes: Any) -> Order:
    """Return the order with changed parcels or returns and the state that they imply; a cancelling order stays cancelling."""
    changed = replace(order, **changes)
    return changed if order.state == "cancelling" else end_cancellation(changed)


def end_cancellation(order: Order) -> Order:
    """Return the order without cancellation, in the state that its parcels, cancelled lines and returns imply."""
    return replace(order, state=_goods_state(order), cancellation=None)


def _goods_state(order: Order) -> State:
    if not order.parcels:
        return "confirmed"
    if any(quantity > 0 for quantity in order.undispatched.values()):
        return "partly_dispatched"
    if order.parcels_in_transit:
        return "dispatched"
    if not order.delivered:
        return "lost"
    if order.unreturned == order.delivered:
        return "delivered"
    return "partly_returned" if any(order.unreturned.values()) else "returned"
