"""Daily schedule: reconciles the provider's payments with the order log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from orderflow.aws.observability import instrumented, measure, measure_nonzero
from orderflow.domain import metrics
from payments import reconciliation
from payments.dependencies import LOG, PROVIDER

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@instrumented
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return how many payments were compared, repaired and different; raise at the end if any could not be compared."""
    found = reconciliation.reconcile(LOG, PROVIDER, datetime.now(UTC).date())
    measure_nonzero(metrics.PAYMENTS_COMPARED, found.compared)
    measure_nonzero(metrics.PAYMENTS_REPAIRED, found.repaired)
    if found.compared:
        # Beside the compared ones, so that the share of differences has a value.
        measure(metrics.PAYMENTS_DIFFERENT, found.different)
    if found.failed:
        message = f"{found.failed} of {found.compared} payments could not be compared; the log names them"
        raise reconciliation.NotAllCompared(message)
    return {"outcome": "reconciled", **msgspec.to_builtins(found)}
