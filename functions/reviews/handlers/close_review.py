"""Queue consumer: closes the review of an order that is no longer held, after a decision or a cancellation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow.aws.batch import PartialFailures, process_orders
from orderflow.aws.observability import instrumented
from reviews.dependencies import REVIEW_SERVICE

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Process a batch of SQS messages and return the failed ones."""
    return process_orders(event, REVIEW_SERVICE.close)
