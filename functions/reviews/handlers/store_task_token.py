"""Workflow step: stores the task token with which the execution waits for a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.observability import instrumented
from reviews import review_service
from reviews.dependencies import REVIEW_SERVICE, ReviewStepInput

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.saga_step import StepResult


class TokenStepInput(ReviewStepInput):
    """Input of the workflow step, with the task token."""

    token: str


@instrumented
def handler(event: TokenStepInput, _context: LambdaContext) -> StepResult[review_service.WaitOutcome]:
    """Return `waiting`, or `closed` if the execution was resumed at once."""
    return {"outcome": REVIEW_SERVICE.store_task_token(event["order_id"], event["execution"], event["token"])}
