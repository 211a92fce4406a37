"""The limits of a customer's unpaid orders: pure rules.

Stock is reserved as soon as an order is placed, before its payment is authorized. Without a limit, one account with a
payment token that will be declined could reserve all of a product, and do so again whenever the reservation ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orderflow.domain.events import StockLine
    from orderflow.domain.order import Order

MAX_ORDERS = 20
MAX_UNITS = 100  # of one product


class UnpaidLimitReached(ValueError):
    """The customer's unpaid orders and the new one together are over a limit.

    `orders` are the ids of the unpaid orders; `skus` the products above `MAX_UNITS`, empty if there are too many orders.
    """

    def __init__(self, message: str, orders: Sequence[str], skus: Sequence[str] = ()) -> None:
        """Create the error for these orders and products."""
        super().__init__(message)
        self.orders = tuple(orders)
        self.skus = tuple(skus)


def is_unpaid(order: Order) -> bool:
    """Return whether the order has reserved stock, or may still reserve it, without an authorized payment.

    A held order counts even if its reservation has expired: it reserves again when a reviewer approves it.
    """
    return order.payment in {"none", "declined"} and (order.state in {"placed", "held"} or order.reservation == "held")


def check(lines: Sequence[StockLine], unpaid: Sequence[Order]) -> None:
    """Check that a customer with these unpaid orders may place another one of `lines`, one line per product.

    Raises:
        UnpaidLimitReached: there are `MAX_ORDERS` already, or more than `MAX_UNITS` of a product would be unpaid.
    """
    ids = [order.order_id for order in unpaid]
    if len(ids) >= MAX_ORDERS:
        message = f"you have {len(ids)} unpaid orders, and the limit is {MAX_ORDERS}; wait until they are paid, or cancel some of them"
        raise UnpaidLimitReached(message, ids)
    held = units(unpaid)
    over = {line.sku: (held.get(line.sku, 0), line.quantity) for line in lines if held.get(line.sku, 0) + line.quantity > MAX_UNITS}
    if over:
        named = ", ".join(f"{sku} ({had} unpaid, {asked} more requested)" for sku, (had, asked) in over.items())
        message = f"at most {MAX_UNITS} of a product may be unpaid: {named}; order fewer, wait until your orders are paid, or cancel some"
        raise UnpaidLimitReached(message, ids, tuple(over))


def units(orders: Iterable[Order]) -> dict[str, int]:
    """Return how many units of each product the orders have together."""
    sums: dict[str, int] = {}
    for line in (line for order in orders for line in order.lines):
        sums[line.sku] = sums.get(line.sku, 0) + line.quantity
    return sums
