"""Review: a reviewer approves or rejects a held order, or the review times out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orderflow.domain.event import EventData
from orderflow.domain.order_state import failing
from orderflow.domain.registry import Command, decides, evolves, refuse

if TYPE_CHECKING:
    from orderflow.domain.event import Event
    from orderflow.domain.order_state import Order
    from orderflow.domain.registry import Decision


class OrderReviewApproved(EventData, frozen=True):
    """A reviewer approved a held order."""

    reviewer: str
    note: str


class OrderReviewRejected(EventData, frozen=True):
    """A reviewer rejected a held order, or the review timed out. The order can only be rejected."""

    reviewer: str
    note: str
    timed_out: bool


class ApproveReview(Command, frozen=True):
    """Approve a held order."""

    reviewer: str
    note: str = ""


class RejectReview(Command, frozen=True):
    """Reject a held order, or (`timed_out`) record that its review timed out."""

    reviewer: str
    note: str = ""
    timed_out: bool = False


@decides(ApproveReview)
def _approve(order: Order, command: ApproveReview) -> Decision:
    if order.review_approved:
        return ()
    return (OrderReviewApproved(command.reviewer, command.note),) if order.state == "held" else refuse(order, command)


@decides(RejectReview)
def _reject(order: Order, command: RejectReview) -> Decision:
    if order.failure and order.failure.reason in {"review_rejected", "review_timed_out"}:
        return ()
    if order.state != "held":
        return refuse(order, command)
    return (OrderReviewRejected(command.reviewer, command.note, command.timed_out),)


@evolves(OrderReviewApproved, appended_by="reviews")
def _approved(order: Order, _data: OrderReviewApproved, _event: Event) -> Order:
    return replace(order, state="placed", review_approved=True)


@evolves(OrderReviewRejected, appended_by="reviews")
def _rejected(order: Order, data: OrderReviewRejected, _event: Event) -> Order:
    return failing(order, "review_timed_out" if data.timed_out else "review_rejected")
