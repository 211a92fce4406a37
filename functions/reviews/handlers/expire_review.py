"""Workflow step: rejects an order whose review timed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import observed
from orderflow.aws.order_log import OrderLog
from reviews import review_service

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))


class Step(TypedDict):
    """Input of the workflow step."""

    order_id: str
    correlation_id: str


class Result(TypedDict):
    """Output of the workflow step."""

    outcome: review_service.ExpireOutcome


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Return `timed_out`, or `decided` if a decision or a cancellation came first. Idempotent."""
    return {"outcome": review_service.expire(LOG, event["order_id"])}
