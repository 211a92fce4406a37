"""Rebuilds reservations, returned stock and stock levels from the order log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from inventory.domain import stock_rules
from inventory.stock_shards import OutOfStock
from orderflow.domain.order import latest

if TYPE_CHECKING:
    from inventory.domain.stock_rules import Levels
    from inventory.store import Inventory
    from orderflow.aws.order_log import OrderLog


class LevelsResult(Struct, frozen=True):
    """The number of products that were changed; `short` have fewer units than their orders, `unknown` had no row and have none."""

    changed: int
    short: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def rebuild_rows(log: OrderLog, inventory: Inventory, order_ids: Iterable[str]) -> Levels:
    """Write the missing rows of orders; return the units of each product that these orders have reserved and shipped.

    Raises:
        OrderNotFound: the log has no such order.
    """
    levels: dict[str, tuple[int, int]] = {}
    for order_id in order_ids:
        order = log.load(order_id)
        reserved, restocked = stock_rules.reserved_lines(order), stock_rules.restocked_lines(order)
        reservation = latest(order, {"StockReserved"})
        if reserved.lines and reservation:
            inventory.restore_reservation(order_id, reserved, reservation.appended_at)
        if restocked.returns:
            inventory.restore_restocked(order_id, restocked)
        levels = stock_rules.add_holding(levels, stock_rules.holding(order, reserved, restocked))
    return levels


def correct_levels(inventory: Inventory, levels: Mapping[str, tuple[int, int]]) -> LevelsResult:
    """Set the reserved and shipped units of products, at the expense of their available ones.

    The units ever received do not change, because no event records them: they are the sum of the stock rows, which have to be restored
    before. The levels have to be those of all orders, and no order may change meanwhile.

    Raises:
        TransactionConflict, TransactionConditionFailed: an order changed the stock meanwhile.
    """
    changed, short, unknown = 0, list[str](), list[str]()
    for sku, (reserved, shipped) in levels.items():
        try:
            match inventory.shards.correct(sku, reserved, shipped):
                case "corrected":
                    changed += 1
                case "unknown":
                    unknown.append(sku)
                case _:
                    continue
        except OutOfStock:
            short.append(sku)
    return LevelsResult(changed, tuple(short), tuple(unknown))
