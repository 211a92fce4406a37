"""The form of the ids in requests."""

from __future__ import annotations

import re

_ORDER_ID = re.compile(r"ord_[a-z0-9]{26}")


def is_order_id(text: str) -> bool:
    """Return whether a text has the form of an order id. The order may not exist."""
    return _ORDER_ID.fullmatch(text) is not None
