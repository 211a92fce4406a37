"""Saga step of a cancellation: recalls the part of the shipment that was not dispatched."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from orderflow.aws.observability import observed
from shipping import shipments
from shipping.dependencies import CARRIER, LOG, Step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Result(TypedDict):
    """Output of the saga step, read by the saga's Choice state."""

    outcome: shipments.RecallOutcome


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Return `recalled`, `nothing_to_recall` (never confirmed), `too_late`, or `inactive` for a finished order."""
    return {"outcome": shipments.recall(LOG, CARRIER, event["order_id"])}
