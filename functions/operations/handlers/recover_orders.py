"""Scheduled: runs the saga again for every order that has stood still for too long.

The index of open orders holds only keys. Each stuck order is therefore loaded from its log: that
keeps its own correlation id on everything that follows, and leaves out those that have ended since.
Stuck orders are few, so the read costs next to nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit

from operations import recovery
from operations.saga import Workflow
from orderflow.aws import settings
from orderflow.aws.active_orders import ActiveOrderIndex
from orderflow.aws.clients import client
from orderflow.aws.observability import add_nonzero_metric, observed
from orderflow.aws.order_log import OrderLog

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
ACTIVE_ORDERS = ActiveOrderIndex(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
SAGA = Workflow(settings.required("SAGA_ARN"), client("stepfunctions"))
STUCK_AFTER = timedelta(seconds=settings.optional_int("STUCK_AFTER_SECONDS", 300))


@observed
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Answer how many orders are open, stuck and run again; fail at the end if any could not be run."""
    swept = recovery.recover(LOG, SAGA, ACTIVE_ORDERS.oldest_first(), now=datetime.now(UTC), stuck_after=STUCK_AFTER)
    add_nonzero_metric("ActiveOrderIndex", MetricUnit.Count, swept.open)
    add_nonzero_metric("OldestOpenOrderSeconds", MetricUnit.Seconds, swept.oldest_seconds)
    if swept.failed:
        message = f"the sagas of {swept.failed} of {swept.stuck} stuck orders could not be run; the log names them"
        raise recovery.SagasNotStarted(message)
    return {"outcome": "swept", "open": swept.open, "stuck": swept.stuck, "run": swept.run}
