"""Reconciles stock with reservations, and reservations with the order log."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from inventory import reservations
from inventory.domain import stock_rules
from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from inventory.store import Inventory, Reservation
    from orderflow.aws.order_log import OrderLog
    from orderflow.domain.events import StockLine

# A run compares this many with their logs well within the function's timeout; they are chosen at random, so that later runs reach all.
MAX_CHECKED = 500
TOO_SLOW = "the reservations could not be read within the function's timeout: increase its MemorySize, which makes it faster"


class NotReconciled(RuntimeError):
    """Some reservations could not be compared with the log or repaired, or the time was too short."""


class ReconciliationResult(Struct, frozen=True):
    """The outcome of one run.

    `differences` has the products whose stock and reservations differ, with the units that the stock has reserved too many.
    `checked`, `repaired` and `failed` count reservations compared with the log.
    """

    differences: Mapping[str, int]
    checked: int
    repaired: int
    failed: int


def reconcile(
    log: OrderLog, inventory: Inventory, *, most: int = MAX_CHECKED, has_time: Callable[[], bool] = lambda: True
) -> ReconciliationResult:
    """Compare stock with reservations, and up to `most` reservations with the log; repair reservations that differ from the log.

    The tables are not read at one moment, so a difference counts only if a second comparison finds it again. It is reported and not
    repaired, because either table may be right. Reservations of such products are compared with the log first.

    The tables are read page by page, and memory holds one total per product.

    Raises:
        NotReconciled: `has_time` returned False before both tables were read.
    """
    sample = _Sample(most)
    suspected = _differences(inventory, has_time, sample)
    affected = _Sample(most, suspected)
    again = _differences(inventory, has_time, affected) if suspected else {}
    differences = {sku: by for sku, by in suspected.items() if again.get(sku) == by}
    for sku, by in differences.items():
        logger.error("stock_difference_found", sku=sku, reserved_too_much=by)
    chosen = list(dict.fromkeys([*(affected.chosen if differences else ()), *sample.chosen]))[:most]
    results = [_sync(log, inventory, order_id) for order_id in chosen]
    return ReconciliationResult(differences, len(results), results.count("synced"), results.count("failed"))


class _Sample:
    """A random choice of orders that have a reservation of one of some products, or of any product."""

    def __init__(self, most: int, skus: Mapping[str, object] | None = None) -> None:
        self.chosen: list[str] = []
        self._most = most
        self._skus = skus
        self._seen = 0

    def add(self, reservation: Reservation) -> None:
        """Choose the order, or not, so that every order added has the same chance."""
        if self._skus is not None and all(line.sku not in self._skus for line in reservation.lines):
            return
        self._seen += 1
        if len(self.chosen) < self._most:
            self.chosen.append(reservation.order_id)
        elif (index := random.randrange(self._seen)) < self._most:  # noqa: S311 - a sample, not a secret
            self.chosen[index] = reservation.order_id


def _differences(inventory: Inventory, has_time: Callable[[], bool], sample: _Sample) -> dict[str, int]:
    def lines() -> Iterator[StockLine]:
        for reservation in inventory.all_reservations():
            if not has_time():
                raise NotReconciled(TOO_SLOW)
            sample.add(reservation)
            yield from reservation.lines

    return stock_rules.differences(inventory.shards.reserved(), lines())


def _sync(log: OrderLog, inventory: Inventory, order_id: str) -> str:
    try:
        outcome = reservations.sync_stock(log, inventory, order_id)
    except Exception:  # noqa: BLE001 - one failing order must not block the others
        logger.exception("reservation_sync_failed", order_id=order_id)
        return "failed"
    if outcome == "synced":
        logger.warning("reservation_repaired", order_id=order_id)
    return outcome
