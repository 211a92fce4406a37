"""Workflow step: stores the task token with which the execution waits for a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from orderflow.aws.observability import observed
from reviews import review_service
from reviews.dependencies import REVIEW_SERVICE, Step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class TokenStep(Step):
    """Input of the workflow step, with the task token."""

    token: str


class Result(TypedDict):
    """Output of the workflow step."""

    outcome: review_service.WaitOutcome


@observed
def handler(event: TokenStep, _context: LambdaContext) -> Result:
    """Return `waiting`, or `closed` if the execution was resumed at once."""
    return {"outcome": REVIEW_SERVICE.store_task_token(event["order_id"], event["execution"], event["token"])}
