"""Requests and responses of the reviews API, and its authorization."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from orderflow.aws.http import ApiEvent, Caller, Problem, caller
from reviews.domain.decisions import REVIEWER_GROUP, Choice
from reviews.review_store import Review


class DecisionRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The request body of `POST /reviews/{order_id}/decision`."""

    decision: Choice
    note: Annotated[str, Meta(max_length=1000)] = ""


class OpenReviews(Struct, frozen=True, omit_defaults=True):
    """A page of open reviews, oldest first; `next` is the cursor of the next page."""

    reviews: tuple[Review, ...]
    next: str | None = None


def require_reviewer(event: ApiEvent) -> Caller:
    """Return the caller, who has to be a reviewer.

    Raises:
        Problem: 401 without an authenticated caller, 403 for a caller who is not a reviewer.
    """
    reviewer = caller(event)
    if REVIEWER_GROUP not in reviewer.groups:
        raise Problem(403, "forbidden", "Forbidden", f"only members of the group {REVIEWER_GROUP} may review orders")
    return reviewer
