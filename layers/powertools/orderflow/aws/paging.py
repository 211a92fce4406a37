"""Query parameters of paged lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws import cursor
from orderflow.aws.http import ApiEvent, Problem

if TYPE_CHECKING:
    from orderflow.aws.cursor import Position

MAX_LIMIT = 50
DEFAULT_LIMIT = 20


def parse_page(event: ApiEvent, *scope: str | None) -> tuple[int, Position | None]:
    """Return the requested page size and the position after which the page starts; `scope` as in `cursor.encode`.

    Raises:
        Problem: 400 for a limit outside 1 to 50, or a cursor that is malformed or was issued for another scope.
    """
    query = event.get("queryStringParameters") or {}
    return parse_limit(event), cursor.decode(query["cursor"], *scope) if "cursor" in query else None


def parse_limit(event: ApiEvent, default: int = DEFAULT_LIMIT, most: int = MAX_LIMIT) -> int:
    """Return the requested number of items, `default` without a request.

    Raises:
        Problem: 400 for a limit outside 1 to `most`.
    """
    limit = (event.get("queryStringParameters") or {}).get("limit", str(default))
    if not (limit.isascii() and limit.isdecimal() and len(limit) <= len(str(most)) and 1 <= int(limit) <= most):
        raise invalid_parameter("limit", f"a whole number from 1 to {most}")
    return int(limit)


def next_cursor(last: Position | None, *scope: str | None) -> str | None:
    """Return the cursor of the page after the one that ends at `last`; None after the last page."""
    return cursor.encode(last, *scope) if last else None


def invalid_parameter(name: str, expected: str) -> Problem:
    """Return the answer to a query parameter with an invalid value: 400."""
    return Problem(400, "parameter-invalid", "Parameter invalid", f"{name}: {expected}", field=name)
