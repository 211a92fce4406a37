"""Workflow step: rejects an order whose review timed out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented
from orderflow.aws.order_log import OrderLog
from reviews import review_service

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.saga_step import StepInput, StepResult

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))


@instrumented
def handler(event: StepInput, _context: LambdaContext) -> StepResult[review_service.ExpireOutcome]:
    """Return `timed_out`, or `decided` if a decision or a cancellation came first. Idempotent."""
    return {"outcome": review_service.expire(LOG, event["order_id"])}
