"""Saga step of a cancellation: have the carrier stop what has not left."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from orderflow.aws.observability import observed
from shipping import shipments
from shipping.dependencies import CARRIER, LOG, Step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Result(TypedDict):
    """What the step answers; the saga's Choice reads it."""

    outcome: shipments.RecallOutcome


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Answer `recalled`, `nothing_to_recall` (never confirmed), `too_late`, or `inactive` for an order that is not cancelled any more."""
    return {"outcome": shipments.recall(LOG, CARRIER, event["order_id"])}
