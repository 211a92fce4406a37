"""An order and its events as the owner sees them. No AWS here."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from orderflow.domain.money import Money
from orders.api_models import OrderAnswer, ParcelAnswer, ReturnAnswer, Timeline, TimelineEntry

if TYPE_CHECKING:
    from orderflow.domain.events import Event
    from orderflow.domain.order import Order, Parcel, Return

# What the fraud rules found would teach how to get past them, and who decided is nobody's business; errors are
# named for us, not for customers; a document's place in our store is no link. The ids of carriers and payment
# providers stay: a customer quotes them when asking there.
_INSIDE = {
    "OrderScreened": ("score", "reasons"),
    "OrderHeldForReview": ("score", "reasons"),
    "OrderReviewApproved": ("reviewer", "note"),
    "OrderReviewRejected": ("reviewer", "note"),
    "FulfilmentFailed": ("step", "reason"),
    "CancellationFailed": ("reason",),
    "InvoiceIssued": ("document",),
    "CreditNoteIssued": ("document",),
}


def order(order: Order) -> OrderAnswer:
    """Return the order as its owner sees it; one that is being unwound is still `placed`."""
    state = "placed" if order.state in {"new", "failing"} else order.state
    ended = order.failure if state == "rejected" else None
    return msgspec.convert(
        {
            "order_id": order.order_id,
            "state": state,
            "lines": order.lines,
            "total": order.total,
            "placed_at": order.placed_at,
            "reason": ended.reason if ended else None,
            "details": ended.details if ended else (),
            "parcels": tuple(map(_parcel, order.parcels)),
            "cancelled": order.cancelled,
            "returns": tuple(map(returned, order.returns)),
            "captured": _money(order, order.captured),
            "refunded": _money(order, order.refunded),
            "charged_back": _money(order, order.charged_back),
        },
        OrderAnswer,
        from_attributes=True,
    )


def announced(sent_back: Return) -> ReturnAnswer:
    """Return a return as it was when it was announced, whatever became of it since."""
    return ReturnAnswer(sent_back.return_id, "requested", sent_back.lines, sent_back.requested_at, sent_back.reason)


def timeline(order_id: str, history: list[Event]) -> Timeline:
    """Return the events as their owner sees them, without what stays inside."""
    return Timeline(order_id, tuple(map(_entry, history)))


def returned(sent_back: Return) -> ReturnAnswer:
    """Return a return as it is now."""
    amount = sent_back.amount
    state = "requested" if amount is None else "refunded" if sent_back.refunded >= amount.amount else "received"
    return msgspec.structs.replace(announced(sent_back), state=state, amount=sent_back.amount)


def _parcel(parcel: Parcel) -> ParcelAnswer:
    return ParcelAnswer(parcel.parcel_id, parcel.lines, parcel.state, parcel.delivered_at)


def _money(order: Order, amount: int) -> Money | None:
    return Money(amount, order.total.currency) if amount else None


def _entry(event: Event) -> TimelineEntry:
    data = msgspec.to_builtins(event.data, builtin_types=(datetime,))
    for hidden in _INSIDE.get(event.type, ()):
        data.pop(hidden)
    return TimelineEntry(
        event.order_version, event.type, event.occurred_at, event.source, event.event_id, event.causation_id, data, event.recorded_at
    )
