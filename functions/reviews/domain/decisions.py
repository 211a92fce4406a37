"""Decisions on held orders: reading them from events and making them commands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from msgspec import Struct

from orderflow.domain.commands import ApproveReview, RejectReview
from orderflow.domain.events import Event, OrderReviewApproved, OrderReviewRejected

REVIEWER_GROUP = "reviewers"
Choice = Literal["approve", "reject"]


class Decision(Struct, frozen=True, omit_defaults=True):
    """A decision that the order log has recorded; `reviewer` is empty if the review timed out."""

    order_id: str
    decision: Choice
    reviewer: str
    note: str
    decided_at: datetime
    timed_out: bool = False


def find_decision(history: Iterable[Event]) -> Decision | None:
    """Return the decision among an order's events, or None."""
    return next((decision for event in history if (decision := _to_decision(event))), None)


def to_command(decision: Choice, reviewer: str, note: str) -> ApproveReview | RejectReview:
    """Return the command that records a reviewer's decision."""
    return ApproveReview(reviewer, note) if decision == "approve" else RejectReview(reviewer, note)


def is_same_decision(recorded: Decision, decision: Choice) -> bool:
    """Return whether a reviewer has already made this decision; a time-out is not a reviewer's decision."""
    return recorded.decision == decision and not recorded.timed_out


def _to_decision(event: Event) -> Decision | None:
    match event.data:
        case OrderReviewApproved(reviewer=reviewer, note=note):
            return Decision(event.order_id, "approve", reviewer, note, event.occurred_at)
        case OrderReviewRejected(reviewer=reviewer, note=note, timed_out=timed_out):
            return Decision(event.order_id, "reject", reviewer, note, event.occurred_at, timed_out)
        case _:
            return None
