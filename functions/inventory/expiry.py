"""Finding reservations that are too old, and giving each of them up."""

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

# So many are done well within the function's time; the others wait for the next run.
MOST_LOOKED_AT = 5000
MOST = 500


class NotAllExpired(RuntimeError):
    """Some reservations that are too old could not be given up."""


class Expired(Struct, frozen=True):
    """What a run saw and did: how many orders may have a reservation that is too old, how many had and lost it."""

    old: int
    expired: int
    failed: int


def expire_all(log: OrderLog, open_orders: ActiveOrderIndex, inventory: Inventory, before: datetime, *, most: int = MOST) -> Expired:
    """Give up every reservation from before `before` (UTC) of an order that is in the saga or waits for a person.

    At most `most` of them; of more than that a random choice, so that orders which nothing helps cannot keep the others
    waiting for ever. An order that waits for days is met in every run: whether it holds anything is asked of the
    reservations, 100 at a time, before its log is read. One that fails is logged and counted, the others go on.
    """
    orders = [*open_orders.oldest_first("open", before), *open_orders.oldest_first("held", before)]
    held = inventory.held(_some([order.order_id for order in orders], MOST_LOOKED_AT))
    results = [_expire(log, inventory, order_id, before) for order_id in _some(sorted(held), most)]
    return Expired(old=len(held), expired=results.count("expired"), failed=results.count("failed"))


def _some(order_ids: Collection[str], most: int) -> Collection[str]:
    return order_ids if len(order_ids) <= most else random.sample(list(order_ids), most)


def _expire(log: OrderLog, inventory: Inventory, order_id: str, before: datetime) -> str:
    try:
        expired = reservations.expire(log, inventory, order_id, before)
    except Exception:  # noqa: BLE001 - whatever is wrong with one order must not keep the others waiting
        logger.exception("reservation not expired", order_id=order_id)
        return "failed"
    if expired:
        logger.info("reservation expired", order_id=order_id)
    return "expired" if expired else "kept"
