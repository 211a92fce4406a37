"""Comparing the stock with the reservations, and the reservations with the order log."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from inventory import reservations, rules
from orderflow.observability import logger

if TYPE_CHECKING:
    from inventory.store import Held, Inventory
    from orderflow.log import OrderLog

# So many are compared with their logs well within the function's time; a random choice, so that in time all are.
MOST = 500


class NotReconciled(RuntimeError):
    """Some reservations could not be compared with the log, or not be brought in line with it."""


class Reconciled(Struct, frozen=True):
    """What a run saw and did.

    `differences` has the products of which more or less is reserved than the reservations hold, with by how many pieces;
    `looked_at`, `repaired` and `failed` count reservations compared with the log.
    """

    differences: Mapping[str, int]
    looked_at: int
    repaired: int
    failed: int


def reconcile(log: OrderLog, inventory: Inventory, *, most: int = MOST) -> Reconciled:
    """Compare the stock with the reservations, and up to `most` of these with the log; bring what the log explains in line.

    Tables are not read at one moment, so a difference counts only when a second look finds the same. It is told, not
    mended: nothing says which of the two is right. Reservations of such products are compared with the log first.

    Raises:
        TooManyHeld: there is more to read than one run can.
    """
    held = list(inventory.all_held())
    suspected = _differences(inventory, held)
    again = _differences(inventory, inventory.all_held()) if suspected else {}
    differences = {sku: by for sku, by in suspected.items() if again.get(sku) == by}
    for sku, by in differences.items():
        logger.error("stock differs from its reservations", sku=sku, reserved_too_much=by)
    results = [_settle(log, inventory, order_id) for order_id in _chosen(held, differences, most)]
    return Reconciled(differences, len(results), results.count("settled"), results.count("failed"))


def _differences(inventory: Inventory, held: Iterable[Held]) -> dict[str, int]:
    return rules.differences(inventory.reserved(), (line for one in held for line in one.lines))


def _chosen(held: Sequence[Held], differences: Mapping[str, int], most: int) -> list[str]:
    mixed = random.sample(held, len(held))
    mixed.sort(key=lambda one: all(line.sku not in differences for line in one.lines))
    return [one.order_id for one in mixed[:most]]


def _settle(log: OrderLog, inventory: Inventory, order_id: str) -> str:
    try:
        outcome = reservations.settle(log, inventory, order_id)
    except Exception:  # noqa: BLE001 - whatever is wrong with one order must not keep the others from being looked at
        logger.exception("reservation not reconciled", order_id=order_id)
        return "failed"
    if outcome == "settled":
        logger.warning("reservation brought in line with the log", order_id=order_id)
    return outcome
