"""Saga step: put what was set aside for a failing order up for sale again."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from inventory import reservations
from inventory.saga_step import INVENTORY, LOG, Step
from orderflow.aws.observability import observed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Result(TypedDict):
    """What the step answers; the saga's Choice reads it."""

    outcome: reservations.Released


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Answer `released`, also for an order whose stock was released before, or `nothing_to_release`."""
    return {"outcome": reservations.release(LOG, INVENTORY, event["order_id"])}
