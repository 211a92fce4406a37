"""Invoked by an operator: writes reservations and returned stock again from the order log, then corrects the stock levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from inventory import rebuilding
from inventory.dependencies import INVENTORY, LOG
from orderflow.aws.observability import instrumented, logger
from orderflow.aws.rebuilding import Rebuild, parse

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

Units = Annotated[int, Meta(ge=0)]


class Correction(Struct, frozen=True, forbid_unknown_fields=True):
    """The reserved and shipped units of products by all orders of the log."""

    levels: dict[str, tuple[Units, Units]]


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """For `orders`, return their reserved and shipped units by product; for `levels`, which products could not be corrected.

    Raises:
        OrderNotFound: the log has no such order.
        InvalidRequest: the event has neither of the two.
        TransactionConflict, TransactionConditionFailed: an order changed the stock meanwhile.
    """
    if "levels" not in event:
        levels = rebuilding.rebuild_rows(LOG, INVENTORY, parse(event, Rebuild).orders)
        return {"outcome": "rebuilt", "levels": {sku: list(units) for sku, units in levels.items()}}
    result = rebuilding.correct_levels(INVENTORY, parse(event, Correction).levels)
    if result.short or result.unknown:
        logger.error("stock_levels_not_corrected", short=result.short, unknown=result.unknown)
    return {"outcome": "corrected", **msgspec.to_builtins(result)}
