"""Scheduled: puts up for sale again what was set aside too long ago for an order that is not confirmed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit

from inventory import expiry
from inventory.saga_step import INVENTORY, LOG
from orderflow.aws import settings
from orderflow.aws.active_orders import ActiveOrderIndex
from orderflow.aws.clients import client
from orderflow.aws.observability import add_nonzero_metric, observed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

OPEN_ORDERS = ActiveOrderIndex(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
KEPT_FOR = timedelta(seconds=settings.optional_int("RESERVATION_SECONDS", 1800))


@observed
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Answer how many reservations were given up; fail at the end if any could not be."""
    done = expiry.expire_all(LOG, OPEN_ORDERS, INVENTORY, datetime.now(UTC) - KEPT_FOR)
    add_nonzero_metric("ExpiredReservations", MetricUnit.Count, done.expired)
    if done.failed:
        message = f"{done.failed} of {done.old} reservations could not be given up; the log names them"
        raise expiry.NotAllExpired(message)
    return {"outcome": "expired", "expired": done.expired}
