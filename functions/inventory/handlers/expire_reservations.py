"""Scheduled: expires reservations of orders that were not confirmed in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from inventory import expiry
from inventory.dependencies import INVENTORY, LOG
from orderflow.aws import settings
from orderflow.aws.active_orders import ActiveOrderIndex
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented, measure_nonzero
from orderflow.domain import metrics

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ACTIVE_ORDERS = ActiveOrderIndex(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
RESERVATION_TIME = timedelta(seconds=settings.optional_int("RESERVATION_SECONDS", 1800))


@instrumented
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return how many reservations expired; raise at the end if any failed."""
    result = expiry.expire_all(LOG, ACTIVE_ORDERS, INVENTORY, datetime.now(UTC) - RESERVATION_TIME)
    measure_nonzero(metrics.EXPIRED_RESERVATIONS, result.expired)
    if result.failed:
        message = (
            f"{result.failed} of {result.old} reservations did not expire; their orders are in the log lines `reservation_expiry_failed`"
        )
        raise expiry.NotAllExpired(message)
    return {"outcome": "expired", "expired": result.expired}
