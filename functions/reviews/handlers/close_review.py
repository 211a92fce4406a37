"""Ends the wait for a decision once the order's log has it, woken by the events of decisions and cancellations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow.aws.batch import PartialFailures, each_order
from orderflow.aws.observability import observed
from reviews.dependencies import REVIEW_SERVICE

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Answer a batch of SQS messages with those that have to come back."""
    return each_order(event, REVIEW_SERVICE.close)
