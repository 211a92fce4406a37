"""Saga step: set every line of the order aside, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from inventory import reservations
from inventory.saga_step import INVENTORY, LOG, Step
from orderflow.aws.observability import observed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Result(TypedDict):
    """What the step answers; the saga's Choice reads it."""

    outcome: reservations.Reserved


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Answer `reserved` or `out_of_stock`, also for an order that was reserved or short before."""
    return {"outcome": reservations.reserve(LOG, INVENTORY, event["order_id"])}
