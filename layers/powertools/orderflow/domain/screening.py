"""Screening: the fraud rules approve, hold or refuse an order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from orderflow.domain.event import EventData
from orderflow.domain.money import Money
from orderflow.domain.order_state import Screening, failing
from orderflow.domain.registry import Command, decides, evolves, refuse
from orderflow.domain.values import Customer

if TYPE_CHECKING:
    from orderflow.domain.event import Event
    from orderflow.domain.order_state import Order
    from orderflow.domain.registry import Decision


class OrderScreened(EventData, frozen=True):
    """The fraud rules decided without a review. After `refuse` the order can only be rejected."""

    decision: Literal["approve", "refuse"]
    score: int
    reasons: tuple[str, ...]


class OrderHeldForReview(EventData, frozen=True):
    """The fraud rules require a review."""

    customer: Customer
    total: Money
    score: int
    reasons: tuple[str, ...]


class RecordScreening(Command, frozen=True):
    """Record the result of the fraud rules."""

    screening: Screening


@decides(RecordScreening)
def _screen(order: Order, command: RecordScreening) -> Decision:
    if order.screening:
        return ()
    if order.state != "placed" or order.reservation != "held":
        return refuse(order, command)
    screening = command.screening
    if screening.decision == "hold":
        return (OrderHeldForReview(order.customer, order.total, screening.score, screening.reasons),)
    return (OrderScreened(screening.decision, screening.score, screening.reasons),)


@evolves(OrderScreened, appended_by="fraud", stream_only=True)
def _screened(order: Order, data: OrderScreened, _event: Event) -> Order:
    screened = replace(order, screening=Screening(data.decision, data.score, data.reasons))
    return screened if data.decision == "approve" else failing(screened, "fraud_refused")


@evolves(OrderHeldForReview, appended_by="fraud")
def _held(order: Order, data: OrderHeldForReview, _event: Event) -> Order:
    return replace(order, state="held", screening=Screening("hold", data.score, data.reasons))
