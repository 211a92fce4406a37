"""The request of a function that rebuilds a store: the orders whose rows it writes again from the order log.

`make rebuild` sends every order of the log once, a batch per call. Rows that exist stay, so a batch may be sent again.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

MAX_ORDERS = 500


class InvalidRequest(ValueError):
    """The request does not have the fields of this function's request."""


class Rebuild(Struct, frozen=True, forbid_unknown_fields=True):
    """The ids of orders."""

    orders: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_ORDERS)]


def parse[R](event: object, kind: type[R]) -> R:
    """Return an operator's request.

    Raises:
        InvalidRequest: it does not have the fields of this kind.
    """
    try:
        return msgspec.convert(event, kind)
    except msgspec.ValidationError as error:
        message = f"expected the fields of {kind.__name__}: {error}"
        raise InvalidRequest(message) from None
