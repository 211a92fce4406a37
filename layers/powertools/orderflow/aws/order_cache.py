"""Caches long orders in the process, so that the next load reads only later events."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orderflow.domain.order import Order

# Events from which on an order is cached, and the most orders that are.
MIN_EVENTS = 100
MAX_ORDERS = 32


class OrderCache:
    """Holds the orders that were loaded last."""

    def __init__(self) -> None:
        """Start without orders."""
        self._orders: OrderedDict[str, Order] = OrderedDict()

    def get(self, order_id: str) -> Order | None:
        """Return the order as it was loaded last, or None."""
        return self._orders.get(order_id)

    def put(self, order: Order) -> None:
        """Cache the order if it is long; evict the least recently loaded one."""
        if order.version >= MIN_EVENTS:
            # Removed first, because another thread may evict the order between two steps.
            self._orders.pop(order.order_id, None)
            self._orders[order.order_id] = order
            if len(self._orders) > MAX_ORDERS:
                self._orders.popitem(last=False)
