"""Saga step: releases the stock of a failing or cancelling order."""

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
@timed_step("release")
def handler(event: StepInput, _context: LambdaContext) -> StepResult[reservations.ReleaseOutcome]:
    """Return `released` or `nothing_to_release`, also for an order whose stock was released before."""
    return {"outcome": reservations.release(LOG, INVENTORY, event["order_id"])}
