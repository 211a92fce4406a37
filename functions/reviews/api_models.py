"""What reviewers send and get: the shapes of the HTTP API, and who counts as a reviewer."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from orderflow.aws import cursor
from orderflow.aws.http import ApiEvent, Caller, Problem, caller
from reviews.domain.decisions import REVIEWER_GROUP, Choice
from reviews.review_store import Review

MAX_LIMIT = 50
DEFAULT_LIMIT = 20


class DecisionRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /reviews/{order_id}/decision`."""

    decision: Choice
    note: Annotated[str, Meta(max_length=1000)] = ""


class OpenReviews(Struct, frozen=True, omit_defaults=True):
    """A page of the orders that wait for a decision, oldest first; `next` is the cursor of the page after it."""

    reviews: tuple[Review, ...]
    next: str | None = None


def require_reviewer(event: ApiEvent) -> Caller:
    """Return who is calling.

    Raises:
        Problem: 401 when nobody is known, 403 when it is no reviewer.
    """
    person = caller(event)
    if REVIEWER_GROUP not in person.groups:
        raise Problem(403, "forbidden", "Forbidden", f"only members of the group {REVIEWER_GROUP} may do this")
    return person


def parse_page(event: ApiEvent) -> tuple[int, cursor.Position | None]:
    """Return how many reviews a request asks for, and after which position.

    Raises:
        Problem: 400 for a limit that is not 1 to 50, or a cursor that was not given out here.
    """
    asked = event.get("queryStringParameters") or {}
    limit = asked.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdecimal() and len(limit) <= len(str(MAX_LIMIT)) and 1 <= int(limit) <= MAX_LIMIT):
        raise Problem(400, "parameter-invalid", "Parameter invalid", f"limit: a whole number from 1 to {MAX_LIMIT}", field="limit")
    return int(limit), cursor.decode(asked["cursor"], "reviews") if "cursor" in asked else None
