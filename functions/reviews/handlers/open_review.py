"""Workflow step: opens the review of a held order."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from orderflow.aws.observability import observed
from reviews import review_service
from reviews.dependencies import REVIEW_SERVICE, Step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Result(TypedDict):
    """Output of the workflow step, read by its Choice state."""

    outcome: review_service.OpenOutcome


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Return `opened`, `taken` if another execution already waits for the order, or `decided` if it is no longer held."""
    return {"outcome": REVIEW_SERVICE.open(event["order_id"], event["execution"])}
