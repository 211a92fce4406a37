"""Expires the reservations of orders that were not confirmed in time."""

from __future__ import annotations

import random
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from inventory import reservations
from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from inventory.store import Inventory
    from orderflow.aws.active_orders import ActiveOrderIndex
    from orderflow.aws.order_log import OrderLog

# A run checks and expires this many well within the function's timeout; the next run continues.
MAX_CHECKED = 5000
MAX_EXPIRED = 500


class NotAllExpired(RuntimeError):
    """Some old reservations could not be expired."""


class ExpiryResult(Struct, frozen=True):
    """Counts of one run: orders that may have an old reservation, reservations that expired, and orders that failed."""

    old: int
    expired: int
    failed: int


def expire_all(
    log: OrderLog, active_orders: ActiveOrderIndex, inventory: Inventory, before: datetime, *, most: int = MAX_EXPIRED
) -> ExpiryResult:
    """Expire the reservations of active and held orders that were made before `before` (UTC).

    A run expires at most `most`, chosen at random, so that failing orders cannot block the others. Held orders are in every run, so the
    reservation rows are read first, 100 at a time, and then only the logs of orders that have one. A failure is logged and counted; the
    run continues.
    """
    orders = [*active_orders.oldest_first("open", before), *active_orders.oldest_first("held", before)]
    reserved = inventory.with_reservation(_sample([order.order_id for order in orders], MAX_CHECKED))
    results = [_expire(log, inventory, order_id, before) for order_id in _sample(sorted(reserved), most)]
    return ExpiryResult(old=len(reserved), expired=results.count("expired"), failed=results.count("failed"))


def _sample(order_ids: Collection[str], most: int) -> Collection[str]:
    return order_ids if len(order_ids) <= most else random.sample(list(order_ids), most)


def _expire(log: OrderLog, inventory: Inventory, order_id: str, before: datetime) -> str:
    try:
        expired = reservations.expire(log, inventory, order_id, before)
    except Exception:  # noqa: BLE001 - one failing order must not block the others
        logger.exception("reservation_expiry_failed", order_id=order_id)
        return "failed"
    if expired:
        logger.info("reservation_expired", order_id=order_id)
    return "expired" if expired else "kept"
