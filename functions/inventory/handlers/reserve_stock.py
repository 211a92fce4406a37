"""Saga step: reserves every line of the order, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inventory import reservations
from inventory.dependencies import INVENTORY, LOG
from orderflow.aws.observability import instrumented
from orderflow.aws.saga_step import timed_step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.saga_step import StepInput, StepResult


@instrumented
@timed_step("reserve")
def handler(event: StepInput, _context: LambdaContext) -> StepResult[reservations.ReserveOutcome]:
    """Return `reserved` or `out_of_stock`, also for an order that was reserved or short before."""
    return {"outcome": reservations.reserve(LOG, INVENTORY, event["order_id"])}
