"""Cursors of paged lists: a client sends the cursor of the last page to get the next one.

A cursor holds the position of the last order of a page, and a digest that binds it to the list, the
caller and the filter it was issued for. The digest prevents mistakes and is not a signature: any client can compute it.
So a cursor is untrusted input. `decode` accepts only positions that are valid keys of the list's table, and a cursor never
decides whose orders are read.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime

import msgspec
from msgspec import Struct

from orderflow.aws.http import Problem
from orderflow.domain.ids import is_order_id

# Base64 of a digest and a position has 102 characters.
MAX_LENGTH = 128
_DIGEST_BYTES = 12
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


class Position(Struct, frozen=True, array_like=True):
    """The position of an order in a list that is sorted by time; `moment` as `orderflow.aws.dynamodb.timestamp` writes it."""

    moment: str
    order_id: str


_positions = msgspec.json.Decoder(Position)


def encode(position: Position, *scope: str | None) -> str:
    """Return the cursor of a position as text that is safe in a URL.

    `scope` names the list, and its caller and filter if it has them; the cursor is valid for nothing else.
    """
    document = msgspec.json.encode(position)
    return base64.urlsafe_b64encode(_digest(document, scope) + document).decode().rstrip("=")


def decode(text: str, *scope: str | None) -> Position:
    """Return the position of a cursor of this scope.

    Raises:
        Problem: 400 when the cursor is malformed, or was issued for another scope.
    """
    position = _read(text)
    if position is None or encode(position, *scope) != text:
        detail = "send the `next` of the page before, with the same token and filter, or no cursor for the first page"
        raise Problem(400, "cursor-invalid", "Cursor invalid", detail)
    return position


def _read(text: str) -> Position | None:
    if len(text) > MAX_LENGTH:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        position = _positions.decode(raw[_DIGEST_BYTES:])
    except ValueError:
        return None
    return position if _is_moment(position.moment) and is_order_id(position.order_id) else None


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return _MOMENT.fullmatch(text) is not None


def _digest(document: bytes, scope: tuple[str | None, ...]) -> bytes:
    return hashlib.sha256(msgspec.json.encode([*scope, document])).digest()[:_DIGEST_BYTES]
