"""Workflow step: keep the token under which the workflow waits for a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from orderflow.aws.observability import observed
from reviews import review_service
from reviews.dependencies import REVIEW_SERVICE, Step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Waiter(Step):
    """What the workflow gives a step that it waits for."""

    token: str


class Result(TypedDict):
    """What the step answers."""

    outcome: review_service.WaitOutcome


@observed
def handler(event: Waiter, _context: LambdaContext) -> Result:
    """Answer `waiting`, or `closed` when the workflow was let go on at once; it waits for its token either way."""
    return {"outcome": REVIEW_SERVICE.store_task_token(event["order_id"], event["execution"], event["token"])}
