"""Workflow step: refuse an order on which nobody decided in time."""

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
    """What the workflow gives the step."""

    order_id: str
    correlation_id: str


class Result(TypedDict):
    """What the step answers."""

    outcome: review_service.ExpireOutcome


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Answer `timed_out`, also for an order that was before, or `decided` when a person or a cancellation was first."""
    return {"outcome": review_service.expire(LOG, event["order_id"])}
