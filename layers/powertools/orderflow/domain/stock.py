"""Stock: the order's lines are reserved, expire, or are released."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orderflow.domain.event import EventData
from orderflow.domain.order_state import failing, is_stopped, remaining, stock_lines
from orderflow.domain.registry import Command, decides, evolves, refuse
from orderflow.domain.values import Sku, StockLine

if TYPE_CHECKING:
    from orderflow.domain.event import Event
    from orderflow.domain.order_state import Order
    from orderflow.domain.registry import Decision


class Shortage(Struct, frozen=True):
    """A line that stock could not cover."""

    sku: Sku
    requested: int
    available: int


class StockReserved(EventData, frozen=True):
    """Stock is reserved for every line of the order."""

    lines: tuple[StockLine, ...]


class StockReservationFailed(EventData, frozen=True):
    """At least one line is out of stock, so nothing was reserved. The order can only be rejected."""

    shortages: tuple[Shortage, ...]


class ReservationExpired(EventData, frozen=True):
    """The reservation expired because the order was not confirmed in time; stock may be reserved again."""

    lines: tuple[StockLine, ...]


class StockReleased(EventData, frozen=True):
    """The reserved, undispatched stock of the order was released."""

    lines: tuple[StockLine, ...]


class RecordReservation(Command, frozen=True):
    """Record that every line is reserved."""


class RecordShortage(Command, frozen=True):
    """Record that nothing is reserved because these lines are short."""

    shortages: tuple[Shortage, ...]


class ExpireReservation(Command, frozen=True):
    """Expire the reservation of an unconfirmed order that was made at or before `before` (UTC)."""

    before: datetime


class RecordRelease(Command, frozen=True):
    """Record that the reserved units that were not dispatched are for sale again."""


@decides(RecordReservation)
def _reserve(order: Order, command: RecordReservation) -> Decision:
    if order.reservation == "held":
        return ()
    return (StockReserved(stock_lines(order)),) if _is_unreserved(order) else refuse(order, command)


@decides(RecordShortage)
def _record_shortage(order: Order, command: RecordShortage) -> Decision:
    if order.failure and order.failure.reason == "out_of_stock":
        return ()
    return (StockReservationFailed(command.shortages),) if _is_unreserved(order) else refuse(order, command)


@decides(ExpireReservation)
def _expire(order: Order, command: ExpireReservation) -> Decision:
    if order.state not in {"placed", "held"}:
        return refuse(order, command)
    if order.reserved_at is None:
        return ()
    return (ReservationExpired(stock_lines(order)),) if order.reserved_at <= command.before else refuse(order, command)


@decides(RecordRelease)
def _release(order: Order, command: RecordRelease) -> Decision:
    if order.state != "new" and (order.reservation != "held" or not remaining(order)):
        return ()
    return (StockReleased(remaining(order)),) if is_stopped(order) else refuse(order, command)


def _is_unreserved(order: Order) -> bool:
    return order.state == "placed" and order.reservation == "none"


@evolves(StockReserved, appended_by="inventory", stream_only=True)
def _reserved(order: Order, _data: StockReserved, event: Event) -> Order:
    return replace(order, reservation="held", reserved_at=event.occurred_at)


@evolves(StockReservationFailed, appended_by="inventory")
def _out_of_stock(order: Order, data: StockReservationFailed, _event: Event) -> Order:
    return failing(order, "out_of_stock", *(shortage.sku for shortage in data.shortages))


@evolves(ReservationExpired, appended_by="inventory")
def _expired(order: Order, _data: ReservationExpired, _event: Event) -> Order:
    return replace(order, reservation="none", reserved_at=None)


@evolves(StockReleased, appended_by="inventory")
def _released(order: Order, _data: StockReleased, _event: Event) -> Order:
    return replace(order, reservation="released")
