"""Workflow step: put a held order on the list of open reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from orderflow.aws.observability import observed
from reviews import review_service
from reviews.dependencies import REVIEW_SERVICE, Step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Result(TypedDict):
    """What the step answers; the workflow's Choice reads it."""

    outcome: review_service.OpenOutcome


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Answer `opened`, `taken` when another execution waits for the order already, or `decided`."""
    return {"outcome": REVIEW_SERVICE.open(event["order_id"], event["execution"])}
