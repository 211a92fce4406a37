"""Scheduled: starts the saga of every stuck order again.

The index of active orders holds only keys, so each stuck order is loaded from its log. That keeps the order's own
correlation id and skips orders that are no longer active. Stuck orders are few, so the reads are cheap.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from operations import order_recovery
from operations.workflows import Workflow
from orderflow.aws import settings
from orderflow.aws.active_orders import ActiveOrderIndex
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented, measure, measure_nonzero
from orderflow.aws.order_log import OrderLog
from orderflow.domain import metrics

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
ACTIVE_ORDERS = ActiveOrderIndex(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
SAGA = Workflow(settings.required("SAGA_ARN"), client("stepfunctions"))
HELD_MINUTES = 15
STUCK_AFTER = timedelta(seconds=settings.optional_int("STUCK_AFTER_SECONDS", 300))


@instrumented
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return how many orders are active, stuck and restarted; raise at the end if a saga could not be started."""
    done = order_recovery.recover(LOG, SAGA, ACTIVE_ORDERS.oldest_first(), now=datetime.now(UTC), stuck_after=STUCK_AFTER)
    measure_nonzero(metrics.OPEN_ORDERS, done.active)
    measure_nonzero(metrics.OLDEST_OPEN_ORDER_SECONDS, done.oldest_seconds)
    _measure_held(datetime.now(UTC))
    if done.failed:
        message = f"could not start the sagas of {done.failed} of {done.stuck} stuck orders; see saga_not_restarted in the log"
        raise order_recovery.SagasNotStarted(message)
    return {"outcome": "swept", "open": done.active, "stuck": done.stuck, "run": done.started}


def _measure_held(now: datetime) -> None:
    """Measure the age of every held order, four times an hour: the index is read for it."""
    if now.minute % HELD_MINUTES == 0:
        for order in ACTIVE_ORDERS.oldest_first("held"):
            measure(metrics.HELD_ORDER_SECONDS, max(0, int((now - order.since).total_seconds())))
