"""Converts orders, summaries and events into API models for their owner. No AWS here."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, cast

import msgspec

from orderflow.domain.events import OrderPlaced, OrderRejected, RejectionReason
from orderflow.domain.money import Money
from orders.api_models import DisplayState, OrderAnswer, OrderSummary, ParcelAnswer, ProductAnswer, ReturnAnswer, Timeline, TimelineEntry

if TYPE_CHECKING:
    from orderflow.domain.events import Event
    from orderflow.domain.order import Order, Parcel, Return
    from orders.domain.pricing import Product
    from orders.summaries import Row

# The most units of a product that is shown as `low_stock`.
LOW_STOCK = 5
# Fields by event type that the timeline omits: fraud results would teach how to evade the rules, reviewers stay anonymous, errors
# are named for operators (Stripe's reason of a failed refund can be `lost_or_stolen_card`), and a document's key is no link. Ids of
# carriers and payment providers stay, so that customers can quote them there.
REDACTED = {
    "OrderScreened": ("score", "reasons"),
    "OrderHeldForReview": ("score", "reasons"),
    "OrderReviewApproved": ("reviewer", "note"),
    "OrderReviewRejected": ("reviewer", "note"),
    "FulfilmentFailed": ("step", "reason"),
    "CancellationFailed": ("reason",),
    "PaymentRefundFailed": ("reason",),
    "PaymentRefundReversed": ("reason",),
    "InvoiceIssued": ("document",),
    "CreditNoteIssued": ("document",),
}
# The reasons whose details customers see, in the order and in the timeline: products, and the code of a decline. The only other detail
# is the failed step, which is named for operators.
DETAILED_REASONS = frozenset[RejectionReason]({"out_of_stock", "payment_declined"})


def display_state(order: Order) -> DisplayState:
    """Return the order's state as its owner sees it: a failing order is still `placed`."""
    return "placed" if order.state in {"new", "failing"} else cast("DisplayState", order.state)


def product(product: Product, available: int) -> ProductAnswer:
    """Return the product; `available` is its number of available units."""
    availability = "in_stock" if available > LOW_STOCK else "low_stock" if available > 0 else "out_of_stock"
    return ProductAnswer(product.sku, product.name, product.unit_price, availability, product.category)


def order(order: Order) -> OrderAnswer:
    """Return the order."""
    state = display_state(order)
    failure = order.failure if state == "rejected" else None
    return msgspec.convert(
        {
            "order_id": order.order_id,
            "state": state,
            "lines": order.lines,
            "total": order.total,
            "placed_at": order.placed_at,
            "reason": failure.reason if failure else None,
            "details": _details(failure.reason, failure.details) if failure else (),
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


def placed_order(event: Event) -> OrderAnswer:
    """Return the order as its first event describes it, so that a repeated request gets the same answer.

    Raises:
        TypeError: the event is not OrderPlaced.
    """
    placed = event.data
    if not isinstance(placed, OrderPlaced):
        message = f"{event.event_id} is not OrderPlaced"
        raise TypeError(message)
    return OrderAnswer(event.order_id, "placed", placed.lines, placed.total, event.occurred_at)


def summary(row: Row) -> OrderSummary:
    """Return the summary of an order."""
    return OrderSummary(row.order_id, row.state, row.total, row.items, row.placed_at, row.updated_at)


def timeline(order_id: str, history: list[Event]) -> Timeline:
    """Return the order's events without their redacted fields."""
    return Timeline(order_id, tuple(map(_entry, history)))


def created_return(return_: Return) -> ReturnAnswer:
    """Return a return as it was created, so that a repeated request gets the same answer."""
    return ReturnAnswer(return_.return_id, "requested", return_.lines, return_.requested_at, return_.reason, return_.reason_code)


def returned(return_: Return) -> ReturnAnswer:
    """Return a return in its present state."""
    amount = return_.amount
    state = "requested" if amount is None else "refunded" if return_.refunded >= amount.amount else "received"
    return msgspec.structs.replace(created_return(return_), state=state, amount=amount)


def _details(reason: RejectionReason, details: tuple[str, ...]) -> tuple[str, ...]:
    return details if reason in DETAILED_REASONS else ()


def _parcel(parcel: Parcel) -> ParcelAnswer:
    return ParcelAnswer(parcel.parcel_id, parcel.lines, parcel.state, parcel.delivered_at, parcel.spoiled)


def _money(order: Order, amount: int) -> Money | None:
    return Money(amount, order.total.currency) if amount else None


def _entry(event: Event) -> TimelineEntry:
    data = msgspec.to_builtins(event.data, builtin_types=(datetime,))
    for field in REDACTED.get(event.type, ()):
        data.pop(field)
    if isinstance(event.data, OrderRejected):
        data["details"] = _details(event.data.reason, event.data.details)
    return TimelineEntry(
        event.order_version, event.type, event.occurred_at, event.source, event.event_id, event.causation_id, data, event.recorded_at
    )
