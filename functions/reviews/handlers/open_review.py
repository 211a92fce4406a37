"""Workflow step: opens the review of a held order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.observability import instrumented
from reviews import review_service
from reviews.dependencies import REVIEW_SERVICE, ReviewStepInput

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.saga_step import StepResult


@instrumented
def handler(event: ReviewStepInput, _context: LambdaContext) -> StepResult[review_service.OpenOutcome]:
    """Return `opened`, `taken` if another execution already waits for the order, or `decided` if it is no longer held."""
    return {"outcome": REVIEW_SERVICE.open(event["order_id"], event["execution"])}
