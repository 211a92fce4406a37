"""Cancellation: customer or operator cancels the undispatched lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orderflow.domain import quantities
from orderflow.domain.event import EventData
from orderflow.domain.money import Money
from orderflow.domain.order_state import Cancellation, CancelledBy, corrected, holds_nothing, is_stopped, price, remaining, stock_lines
from orderflow.domain.registry import Command, decides, evolves, refuse
from orderflow.domain.shipping import end_cancellation
from orderflow.domain.values import Customer, Line, StockLine

if TYPE_CHECKING:
    from orderflow.domain.event import Event
    from orderflow.domain.order_state import Order
    from orderflow.domain.registry import Decision


class CancellationRequested(EventData, frozen=True):
    """Customer or operator requested the cancellation of the undispatched lines. The saga compensates, or the cancellation fails."""

    by: CancelledBy
    reason: str


class OrderCancelled(EventData, frozen=True, omit_defaults=True):
    """The order was cancelled before any dispatch; its stock and authorization are released.

    `confirmed` is true if the order was confirmed before; older events lack the field.
    """

    customer: Customer
    lines: tuple[Line, ...]
    total: Money
    by: CancelledBy
    reason: str
    confirmed: bool = False


class OrderLinesCancelled(EventData, frozen=True):
    """The undispatched `lines` were cancelled; `amount` is their price."""

    customer: Customer
    lines: tuple[StockLine, ...]
    amount: Money
    by: CancelledBy
    reason: str


class CancellationFailed(EventData, frozen=True):
    """Everything was dispatched before the cancellation."""

    reason: str


class RequestCancellation(Command, frozen=True):
    """Cancel the undispatched lines."""

    by: CancelledBy
    reason: str = ""


class CancelOrder(Command, frozen=True):
    """End a cancelling order, or its undispatched lines, after it was compensated."""


class FailCancellation(Command, frozen=True):
    """Record that the carrier dispatched everything before the cancellation could stop it."""

    reason: str


@decides(RequestCancellation)
def _request(order: Order, command: RequestCancellation) -> Decision:
    if order.state in {"cancelling", "cancelled"} or order.cancelled:
        return ()
    if order.state not in {"placed", "held", "confirmed", "partly_dispatched"}:
        return refuse(order, command)
    return (CancellationRequested(command.by, command.reason),)


@decides(CancelOrder)
def _cancel(order: Order, command: CancelOrder) -> Decision:
    if order.state == "cancelled" or order.cancelled:
        return ()
    cancellation = order.cancellation
    if not cancellation or not is_stopped(order) or not holds_nothing(order):
        return refuse(order, command)
    by, reason = cancellation.by, cancellation.reason
    if not order.parcels:
        return (OrderCancelled(order.customer, order.lines, order.total, by, reason, confirmed=order.confirmed_at is not None),)
    rest = remaining(order)
    return (OrderLinesCancelled(order.customer, rest, price(order, rest), by, reason),)


@decides(FailCancellation)
def _fail(order: Order, command: FailCancellation) -> Decision:
    if not order.confirmed_at:
        return refuse(order, command)
    if order.state != "cancelling":
        return ()
    return (CancellationFailed(command.reason),) if order.shipment != "recalled" else refuse(order, command)


@evolves(CancellationRequested, appended_by=("orders", "payments"))
def _requested(order: Order, data: CancellationRequested, _event: Event) -> Order:
    return replace(order, state="cancelling", cancellation=Cancellation(data.by, data.reason))


@evolves(OrderCancelled, appended_by="orders")
def _cancelled(order: Order, _data: OrderCancelled, event: Event) -> Order:
    ended = replace(order, state="cancelled")
    return corrected(ended, "cancelled", stock_lines(order), order.total, event) if order.confirmed_at else ended


@evolves(OrderLinesCancelled, appended_by="orders")
def _lines_cancelled(order: Order, data: OrderLinesCancelled, event: Event) -> Order:
    reduced = corrected(order, "cancelled", data.lines, data.amount, event)
    undispatched = quantities.deduct(order.undispatched, data.lines)
    return end_cancellation(replace(reduced, cancelled=(*order.cancelled, *data.lines), undispatched=undispatched))


@evolves(CancellationFailed, appended_by="shipping")
def _failed(order: Order, _data: CancellationFailed, _event: Event) -> Order:
    return end_cancellation(order)
