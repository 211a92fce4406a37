"""The limits of a customer's unpaid and declined orders: pure rules.

Stock is reserved as soon as an order is placed, before its payment is authorized. Without a limit, one account with a
payment token that will be declined could reserve all of a product, and do so again whenever the reservation ends.

An order whose payment was declined counts for a day although it holds nothing. Without that, one account could try any number of
stolen cards and learn from each order whether the card is valid (https://docs.stripe.com/disputes/prevention/card-testing).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orderflow.domain.events import StockLine
    from orderflow.domain.order import Order

MAX_ORDERS = 20
MAX_UNITS = 100  # of one product
# How long after it was placed an order counts whose payment was declined.
DECLINES_COUNT = timedelta(hours=24)


class Counted(NamedTuple):
    """The orders of a customer that count: unpaid ones with their units, declined ones without."""

    unpaid: tuple[Order, ...]
    declined: tuple[Order, ...] = ()


class UnpaidLimitReached(ValueError):
    """The customer's counted orders and the new one together are over a limit.

    `unpaid` and `declined` are the ids of the counted orders; `skus` the products above `MAX_UNITS`, empty if there are too many orders.
    """

    def __init__(self, message: str, orders: Counted, skus: Sequence[str] = ()) -> None:
        """Create the error for these orders and products."""
        super().__init__(message)
        self.unpaid = tuple(order.order_id for order in orders.unpaid)
        self.declined = tuple(order.order_id for order in orders.declined)
        self.skus = tuple(skus)


def is_unpaid(order: Order) -> bool:
    """Return whether the order has reserved stock, or may still reserve it, without an authorized payment.

    A held order counts even if its reservation has expired: it reserves again when a reviewer approves it.
    """
    return order.payment in {"none", "declined"} and (order.state in {"placed", "held"} or order.reservation == "held")


def counted(orders: Iterable[Order], now: datetime) -> Counted:
    """Return those of a customer's orders that count at `now` (UTC): each that is unpaid, or was declined and placed a day ago at most."""
    known = tuple(orders)
    since = now - DECLINES_COUNT
    return Counted(
        tuple(order for order in known if is_unpaid(order)),
        tuple(order for order in known if not is_unpaid(order) and _is_declined(order) and order.placed_at and order.placed_at > since),
    )


def _is_declined(order: Order) -> bool:
    return order.failure is not None and order.failure.reason == "payment_declined"


def check(lines: Sequence[StockLine], orders: Counted) -> None:
    """Check that a customer with these orders may place another one of `lines`, one line per product.

    Raises:
        UnpaidLimitReached: there are `MAX_ORDERS` already, or more than `MAX_UNITS` of a product would be unpaid.
    """
    if len(orders.unpaid) + len(orders.declined) >= MAX_ORDERS:
        raise UnpaidLimitReached(_too_many(len(orders.unpaid), len(orders.declined)), orders)
    held = units(orders.unpaid)
    over = {line.sku: (held.get(line.sku, 0), line.quantity) for line in lines if held.get(line.sku, 0) + line.quantity > MAX_UNITS}
    if over:
        named = ", ".join(f"{sku} ({had} unpaid, {asked} more requested)" for sku, (had, asked) in over.items())
        message = f"at most {MAX_UNITS} of a product may be unpaid: {named}; order fewer, wait until your orders are paid, or cancel some"
        raise UnpaidLimitReached(message, orders, tuple(over))


def _too_many(unpaid: int, declined: int) -> str:
    if not declined:
        return f"you have {unpaid} unpaid orders, and the limit is {MAX_ORDERS}; wait until they are paid, or cancel some of them"
    hours = DECLINES_COUNT // timedelta(hours=1)
    of_declined = f"{_number(declined)} of the last {hours} hours whose payment was declined"
    if not unpaid:
        return f"you have {of_declined}, and the limit is {MAX_ORDERS}; wait until {hours} hours after you placed the first of them"
    return (
        f"you have {_number(unpaid, 'unpaid ')} and {of_declined}, and the limit of both together is {MAX_ORDERS}; "
        f"wait until the unpaid ones are paid or cancel some, or wait until {hours} hours after you placed the first declined one"
    )


def _number(orders: int, kind: str = "") -> str:
    return f"{orders} {kind}order{'s' if orders > 1 else ''}"


def units(orders: Iterable[Order]) -> dict[str, int]:
    """Return how many units of each product the orders have together."""
    sums: dict[str, int] = {}
    for line in (line for order in orders for line in order.lines):
        sums[line.sku] = sums.get(line.sku, 0) + line.quantity
    return sums
