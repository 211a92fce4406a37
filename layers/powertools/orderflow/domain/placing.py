"""Placing: an order is placed, then confirmed, or it fails and is rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace

from orderflow.domain import quantities
from orderflow.domain.event import EventData
from orderflow.domain.money import Money
from orderflow.domain.order_state import RejectionReason, failing, holds_nothing, stock_lines
from orderflow.domain.registry import Command, decides, evolves, refuse, upcasts
from orderflow.domain.values import Address, Country, Customer, Line

if TYPE_CHECKING:
    from orderflow.domain.event import Event
    from orderflow.domain.order_state import Order
    from orderflow.domain.registry import Decision


class OrderPlaced(EventData, frozen=True):
    """A customer's order was accepted, priced from the catalogue."""

    # Since 2 an address may be without a postal code.
    schema_version: ClassVar[int] = 2

    customer: Customer
    lines: tuple[Line, ...]
    total: Money
    shipping_address: Address
    payment_country: Country


class FulfilmentFailed(EventData, frozen=True):
    """A step failed in all attempts. The order can only be rejected."""

    step: str
    reason: str


class OrderConfirmed(EventData, frozen=True):
    """Stock is reserved and payment authorized; the order will be shipped."""

    # Since 2 an address may be without a postal code.
    schema_version: ClassVar[int] = 2

    customer: Customer
    lines: tuple[Line, ...]
    total: Money
    shipping_address: Address
    authorization_id: str


class OrderRejected(EventData, frozen=True):
    """The order was rejected; its stock and authorization are released."""

    customer: Customer
    lines: tuple[Line, ...]
    total: Money
    reason: RejectionReason
    details: tuple[str, ...]


class PlaceOrder(Command, frozen=True):
    """Accept a priced order."""

    placed: OrderPlaced


class FailFulfilment(Command, frozen=True):
    """Fail an order because a step failed in all attempts."""

    step: str
    reason: str


class ConfirmOrder(Command, frozen=True):
    """Confirm an order: stock is reserved and payment authorized."""


class RejectOrder(Command, frozen=True):
    """Reject a failing order after it was compensated."""


@upcasts(OrderPlaced, 1)
@upcasts(OrderConfirmed, 1)
def _require_postal_code(data: dict[str, Any]) -> dict[str, Any]:
    return data


@decides(PlaceOrder)
def _place(order: Order, command: PlaceOrder) -> Decision:
    if order.state == "new":
        return (command.placed,)
    return () if order.placed == command.placed else refuse(order, command)


@decides(FailFulfilment)
def _fail(order: Order, command: FailFulfilment) -> Decision:
    if order.state in {"failing", "rejected"}:
        return ()
    return (FulfilmentFailed(command.step, command.reason),) if order.state == "placed" else refuse(order, command)


@decides(ConfirmOrder)
def _confirm(order: Order, command: ConfirmOrder) -> Decision:
    if order.confirmed_at:
        return ()
    complete = order.state == "placed" and order.reservation == "held" and order.payment == "authorized"
    if not complete or not order.authorization_id:
        return refuse(order, command)
    return (OrderConfirmed(order.customer, order.lines, order.total, order.shipping_address, order.authorization_id),)


@decides(RejectOrder)
def _reject(order: Order, command: RejectOrder) -> Decision:
    if order.state == "rejected":
        return ()
    if order.state != "failing" or not order.failure or not holds_nothing(order):
        return refuse(order, command)
    return (OrderRejected(order.customer, order.lines, order.total, order.failure.reason, order.failure.details),)


@evolves(OrderPlaced, appended_by="orders")
def _placed(order: Order, data: OrderPlaced, event: Event) -> Order:
    placed = replace(order, state="placed", correlation_id=event.correlation_id, placed_at=event.occurred_at, placed=data)
    return replace(placed, undispatched=quantities.add({}, stock_lines(placed)))


@evolves(FulfilmentFailed, appended_by="orders")
def _failed(order: Order, data: FulfilmentFailed, _event: Event) -> Order:
    return failing(order, "fulfilment_failed", data.step)


@evolves(OrderConfirmed, appended_by="orders")
def _confirmed(order: Order, _data: OrderConfirmed, event: Event) -> Order:
    return replace(order, state="confirmed", confirmed_at=event.occurred_at)


@evolves(OrderRejected, appended_by="orders")
def _rejected(order: Order, _data: OrderRejected, _event: Event) -> Order:
    return replace(order, state="rejected")
