"""Returns: the customer creates a return, and its lines are received."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace

from orderflow.domain import quantities
from orderflow.domain.event import EventData
from orderflow.domain.money import Money
from orderflow.domain.order_state import Return, ReturnReasonCode, price
from orderflow.domain.quantities import as_lines, covers, subtract
from orderflow.domain.registry import Command, decides, evolves, refuse, upcasts
from orderflow.domain.shipping import with_goods_state
from orderflow.domain.values import CustomerId, StockLine, drop_email

if TYPE_CHECKING:
    from orderflow.domain.event import Event
    from orderflow.domain.order_state import Order
    from orderflow.domain.parts import Parts
    from orderflow.domain.registry import Decision

# Far above real orders; it bounds the cost of folding and reading an order. A further return gets 409.
MAX_RETURNS = 250


class ReturnRequested(EventData, frozen=True, omit_defaults=True):
    """The customer created a return of these lines; `reason_code` is `spoiled` for goods that spoiled in transit."""

    schema_version: ClassVar[int] = 2

    customer: CustomerId
    return_id: str
    lines: tuple[StockLine, ...]
    reason: str
    reason_code: ReturnReasonCode | None = None


class ReturnReceived(EventData, frozen=True):
    """The return was received; `amount`, the price of its lines, is due to the customer."""

    return_id: str
    lines: tuple[StockLine, ...]
    amount: Money


upcasts(ReturnRequested, 1)(drop_email)


class RequestReturn(Command, frozen=True):
    """Create a return; only parcels delivered at or after `delivered_since` (UTC) count, unless the goods spoiled in transit."""

    return_id: str
    lines: tuple[StockLine, ...]
    reason: str
    delivered_since: datetime
    reason_code: ReturnReasonCode | None = None


class RecordReturn(Command, frozen=True):
    """Record that the lines of a return were received."""

    return_id: str


@decides(RequestReturn)
def _request(order: Order, command: RequestReturn) -> Decision:
    known = order.returns.get(command.return_id)
    if known:
        same = (known.lines, known.reason, known.reason_code) == (command.lines, command.reason, command.reason_code)
        return () if same else refuse(order, command, f"return {command.return_id} has other contents")
    if not command.lines or not covers(returnable(order), command.lines):
        return refuse(order, command, "only delivered lines that are not in another return can be returned")
    if command.reason_code == "spoiled":
        if not covers(_spoiled(order), command.lines):
            return refuse(order, command, "only lines that spoiled in transit can be returned as spoiled")
    elif not covers(_recent(order, command.delivered_since), command.lines):
        return refuse(order, command, "the time for returns is over")
    if len(order.returns) >= MAX_RETURNS:
        return refuse(order, command, f"an order has at most {MAX_RETURNS} returns; return several products together")
    customer = CustomerId(order.customer.id)
    return (ReturnRequested(customer, command.return_id, command.lines, command.reason, command.reason_code),)


@decides(RecordReturn)
def _receive(order: Order, command: RecordReturn) -> Decision:
    known = order.returns.get(command.return_id)
    if known is None:
        return refuse(order, command, f"return {command.return_id} is unknown")
    return () if known.amount else (ReturnReceived(command.return_id, known.lines, price(order, known.lines)),)


@evolves(ReturnRequested, appended_by="orders")
def _requested(order: Order, data: ReturnRequested, event: Event) -> Order:
    created = Return(
        return_id=data.return_id, lines=data.lines, reason=data.reason, reason_code=data.reason_code, requested_at=event.occurred_at
    )
    returns = order.returns.put(data.return_id, created)
    return replace(order, returns=returns, returnable=quantities.deduct(order.returnable, data.lines))


@evolves(ReturnReceived, appended_by="shipping")
def _received(order: Order, data: ReturnReceived, _event: Event) -> Order:
    returns = changed_return(order, data.return_id, amount=data.amount)
    return with_goods_state(order, returns=returns, unreturned=quantities.deduct(order.unreturned, data.lines))


def returnable(order: Order) -> tuple[StockLine, ...]:
    """Return the delivered quantities that are in no return, at any time of delivery."""
    return as_lines(order.returnable)


def changed_return(order: Order, return_id: str, **changes: Any) -> Parts[Return]:
    """Return the order's returns with changes to one of them; an unknown return changes nothing."""
    known = order.returns.get(return_id)
    return order.returns.put(return_id, replace(known, **changes)) if known else order.returns


def _spoiled(order: Order) -> tuple[StockLine, ...]:
    """Return the delivered quantities that spoiled in transit and are in no return as such."""
    spoiled = [line for parcel in order.parcels if parcel.state == "delivered" for line in parcel.spoiled]
    return subtract(spoiled, (line for one in order.returns if one.reason_code == "spoiled" for line in one.lines))


def _recent(order: Order, since: datetime) -> tuple[StockLine, ...]:
    """Return the quantities of parcels delivered since that can be returned; earlier returns count against older parcels first."""
    old = [line for parcel in order.parcels if parcel.delivered_at and parcel.delivered_at < since for line in parcel.lines]
    recent = [line for parcel in order.parcels if parcel.delivered_at and parcel.delivered_at >= since for line in parcel.lines]
    beyond = subtract((line for one in order.returns for line in one.lines), old)
    return subtract(recent, beyond)
