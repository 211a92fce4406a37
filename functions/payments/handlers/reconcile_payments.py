"""Daily schedule: reconciles the provider's payments with the order log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools.metrics import MetricUnit

from orderflow.aws.observability import add_nonzero_metric, observed
from payments import reconciliation
from payments.dependencies import LOG, PROVIDER

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@observed
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return how many payments were compared, repaired and different; raise at the end if any could not be compared."""
    found = reconciliation.reconcile(LOG, PROVIDER, datetime.now(UTC).date())
    add_nonzero_metric("PaymentsCompared", MetricUnit.Count, found.compared)
    add_nonzero_metric("PaymentsRepaired", MetricUnit.Count, found.repaired)
    add_nonzero_metric("PaymentsDifferent", MetricUnit.Count, found.different)
    if found.failed:
        message = f"{found.failed} of {found.compared} payments could not be compared; the log names them"
        raise reconciliation.NotAllCompared(message)
    return {"outcome": "reconciled", **msgspec.to_builtins(found)}
