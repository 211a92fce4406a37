"""Scheduled: compares stock, reservations and order log, mends what the log explains, and tells of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit

from inventory import reconciliation
from inventory.saga_step import INVENTORY, LOG
from orderflow.aws.observability import add_nonzero_metric, observed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# Enough for comparing reservations with the log.
_RESERVE_MILLISECONDS = 30_000


@observed
def handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer how many products differ and how many reservations were looked at and mended; fail at the end if any could not be."""
    done = reconciliation.reconcile(LOG, INVENTORY, goes_on=lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)
    add_nonzero_metric("StockDifferences", MetricUnit.Count, len(done.differences))
    add_nonzero_metric("RepairedReservations", MetricUnit.Count, done.repaired)
    if done.failed:
        message = f"{done.failed} of {done.looked_at} reservations could not be compared with the log; the log lines name them"
        raise reconciliation.NotReconciled(message)
    return {"outcome": "reconciled", "differences": len(done.differences), "looked_at": done.looked_at, "repaired": done.repaired}
