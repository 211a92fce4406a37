"""The shape of the ids that requests may name."""

from __future__ import annotations

import re

_ORDER_ID = re.compile(r"ord_[a-z0-9]{26}")


def is_order_id(text: str) -> bool:
    """Return whether a text has the shape of an order id; whether there is such an order is another question."""
    return _ORDER_ID.fullmatch(text) is not None
