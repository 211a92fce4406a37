"""The summary of an order on the order view. No AWS here."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.domain.money import Money
from orderflow.domain.order import latest
from orders.api_models import DisplayState
from orders.domain import routed_events
from orders.presenters import display_state

if TYPE_CHECKING:
    from orderflow.domain.order import Order


class Row(Struct, frozen=True):
    """An order's row on the order view; `version` is that of the last event that changed it."""

    customer_id: str
    order_id: str
    placed_at: datetime
    state: DisplayState
    total: Money
    items: int
    version: int
    updated_at: datetime


def row(order: Order) -> Row:
    """Return the row of an order as of the last event that changes rows.

    Raises:
        ValueError: the order was never placed.
    """
    last = latest(order, routed_events.PROJECT)
    if last is None or order.placed_at is None:
        message = f"{order.order_id} was never placed"
        raise ValueError(message)
    return Row(
        customer_id=order.customer.id,
        order_id=order.order_id,
        placed_at=order.placed_at,
        state=display_state(order),
        total=order.total,
        items=sum(line.quantity for line in order.lines),
        version=last.version,
        updated_at=last.appended_at,
    )
