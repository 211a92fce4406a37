"""Comparing the stock with the reservations, and the reservations with the order log."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from inventory import reservations
from inventory.domain import stock_rules
from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from inventory.store import Held, Inventory
    from orderflow.aws.order_log import OrderLog
    from orderflow.domain.events import StockLine

# So many are compared with their logs well within the function's time; a random choice, so that in time all are.
MOST = 500
TOO_SLOW = "the reservations could not be read in the function's time: give it more memory, which makes it faster"


class NotReconciled(RuntimeError):
    """Some reservations could not be compared with the log or not be brought in line with it, or the time was too short."""


class Reconciled(Struct, frozen=True):
    """What a run saw and did.

    `differences` has the products of which more or less is reserved than the reservations hold, with by how many pieces;
    `looked_at`, `repaired` and `failed` count reservations compared with the log.
    """

    differences: Mapping[str, int]
    looked_at: int
    repaired: int
    failed: int


def reconcile(log: OrderLog, inventory: Inventory, *, most: int = MOST, goes_on: Callable[[], bool] = lambda: True) -> Reconciled:
    """Compare the stock with the reservations, and up to `most` of these with the log; bring what the log explains in line.

    Tables are not read at one moment, so a difference counts only when a second look finds the same. It is told, not
    mended: nothing says which of the two is right. Reservations of such products are compared with the log first.

    The tables are read page by page, and a total for each product is all that is kept of them, so their size costs time alone.

    Raises:
        NotReconciled: `goes_on` said no before both tables were read.
    """
    anything = _Sample(most)
    suspected = _differences(inventory, goes_on, anything)
    concerned = _Sample(most, suspected)
    again = _differences(inventory, goes_on, concerned) if suspected else {}
    differences = {sku: by for sku, by in suspected.items() if again.get(sku) == by}
    for sku, by in differences.items():
        logger.error("stock differs from its reservations", sku=sku, reserved_too_much=by)
    chosen = list(dict.fromkeys([*(concerned.chosen if differences else ()), *anything.chosen]))[:most]
    results = [_settle(log, inventory, order_id) for order_id in chosen]
    return Reconciled(differences, len(results), results.count("settled"), results.count("failed"))


class _Sample:
    """A random choice of orders that hold one of some products, or any."""

    def __init__(self, most: int, skus: Mapping[str, object] | None = None) -> None:
        self.chosen: list[str] = []
        self._most = most
        self._skus = skus
        self._seen = 0

    def see(self, one: Held) -> None:
        """Choose an order, or not, so that each that was seen has the same chance."""
        if self._skus is not None and all(line.sku not in self._skus for line in one.lines):
            return
        self._seen += 1
        if len(self.chosen) < self._most:
            self.chosen.append(one.order_id)
        elif (place := random.randrange(self._seen)) < self._most:  # noqa: S311 - a sample, not a secret
            self.chosen[place] = one.order_id


def _differences(inventory: Inventory, goes_on: Callable[[], bool], sample: _Sample) -> dict[str, int]:
    def lines() -> Iterator[StockLine]:
        for one in inventory.all_held():
            if not goes_on():
                raise NotReconciled(TOO_SLOW)
            sample.see(one)
            yield from one.lines

    return stock_rules.differences(inventory.reserved(), lines())


def _settle(log: OrderLog, inventory: Inventory, order_id: str) -> str:
    try:
        outcome = reservations.settle(log, inventory, order_id)
    except Exception:  # noqa: BLE001 - whatever is wrong with one order must not keep the others from being looked at
        logger.exception("reservation not reconciled", order_id=order_id)
        return "failed"
    if outcome == "settled":
        logger.warning("reservation brought in line with the log", order_id=order_id)
    return outcome
