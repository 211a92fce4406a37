"""What reviewers send and get: the shapes of the HTTP API, and who counts as a reviewer."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from orderflow.http import ApiEvent, Caller, Problem, caller
from reviews.rules import GROUP, Choice
from reviews.store import Position, Review

MOST = 50
USUAL = 20


class DecisionRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /reviews/{order_id}/decision`."""

    decision: Choice
    note: Annotated[str, Meta(max_length=1000)] = ""


class OpenReviews(Struct, frozen=True, omit_defaults=True):
    """A page of the orders that wait for a decision, oldest first; `next` is the cursor of the page after it."""

    reviews: tuple[Review, ...]
    next: str | None = None


DECISION = msgspec.json.Decoder(DecisionRequest)


def reviewer(event: ApiEvent) -> Caller:
    """Return who is calling.

    Raises:
        Problem: 401 when nobody is known, 403 when it is no reviewer.
    """
    person = caller(event)
    if GROUP not in person.groups:
        raise Problem(403, "forbidden", "Forbidden", f"only members of the group {GROUP} may do this")
    return person


def page(event: ApiEvent) -> tuple[int, Position | None]:
    """Return how many reviews a request asks for, and after which position.

    Raises:
        Problem: 400 for a limit that is not 1 to 50, or a cursor that was not given out here.
    """
    asked = event.get("queryStringParameters") or {}
    limit = asked.get("limit", str(USUAL))
    if not (limit.isascii() and limit.isdecimal() and len(limit) <= len(str(MOST)) and 1 <= int(limit) <= MOST):
        raise Problem(400, "parameter-invalid", "Parameter invalid", f"limit: a whole number from 1 to {MOST}", field="limit")
    return int(limit), _position(asked["cursor"]) if "cursor" in asked else None


def cursor(position: Position) -> str:
    """Return a position as text that is safe in a URL."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def _position(text: str) -> Position:
    try:
        return msgspec.json.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True), type=Position)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        detail = "send the cursor exactly as the page before gave it, or none for the first page"
        raise Problem(400, "cursor-invalid", "Cursor invalid", detail) from None
