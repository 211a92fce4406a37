"""Saga step of a cancellation: recalls the part of the shipment that was not dispatched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.observability import instrumented
from orderflow.aws.saga_step import timed_step
from shipping import shipments
from shipping.dependencies import CARRIER, LOG

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.saga_step import StepInput, StepResult


@instrumented
@timed_step("recall")
def handler(event: StepInput, _context: LambdaContext) -> StepResult[shipments.RecallOutcome]:
    """Return `recalled`, `nothing_to_recall` (never confirmed), `too_late`, or `inactive` for a finished order."""
    return {"outcome": shipments.recall(LOG, CARRIER, event["order_id"])}
