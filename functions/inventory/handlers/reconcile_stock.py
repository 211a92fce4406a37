"""Scheduled: reconciles stock and reservations with the order log: repairs the safe differences and reports the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inventory import reconciliation
from inventory.dependencies import INVENTORY, LOG
from orderflow.aws.observability import instrumented, measure_nonzero
from orderflow.domain import metrics

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# Time left for comparing reservations with the log.
_RESERVE_MILLISECONDS = 30_000


@instrumented
def handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Return how many products differ, and how many reservations were checked and repaired; raise at the end if any failed."""
    result = reconciliation.reconcile(LOG, INVENTORY, has_time=lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)
    measure_nonzero(metrics.STOCK_DIFFERENCES, len(result.differences))
    measure_nonzero(metrics.REPAIRED_RESERVATIONS, result.repaired)
    if result.failed:
        message = f"{result.failed} of {result.checked} reservations failed; their orders are in the log lines `reservation_sync_failed`"
        raise reconciliation.NotReconciled(message)
    return {"outcome": "reconciled", "differences": len(result.differences), "looked_at": result.checked, "repaired": result.repaired}
