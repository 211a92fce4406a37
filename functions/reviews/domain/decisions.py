"""What was decided on a held order, and who may decide. No AWS here."""

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
    """A decision as it stands on the order's log; nobody is the reviewer of one that ran out of time."""

    order_id: str
    decision: Choice
    reviewer: str
    note: str
    decided_at: datetime
    timed_out: bool = False


def find_decision(history: Iterable[Event]) -> Decision | None:
    """Return what was decided on the order of these events, or None when nothing was."""
    return next((found for event in history if (found := _to_decision(event))), None)


def to_command(decision: Choice, reviewer: str, note: str) -> ApproveReview | RejectReview:
    """Return what a person's decision is to the order."""
    return ApproveReview(reviewer, note) if decision == "approve" else RejectReview(reviewer, note)


def is_same_decision(standing: Decision, decision: Choice) -> bool:
    """Tell whether a person's decision is what stands already; what ran out of time was no person's."""
    return standing.decision == decision and not standing.timed_out


def _to_decision(event: Event) -> Decision | None:
    match event.data:
        case OrderReviewApproved(reviewer=reviewer, note=note):
            return Decision(event.order_id, "approve", reviewer, note, event.occurred_at)
        case OrderReviewRejected(reviewer=reviewer, note=note, timed_out=timed_out):
            return Decision(event.order_id, "reject", reviewer, note, event.occurred_at, timed_out)
        case _:
            return None
