"""Scheduled: alerts on parcels that do not report any more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orderflow.aws.observability import instrumented
from shipping import silence
from shipping.tracking_dependencies import TRACKING, TRACKS

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@instrumented
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return how many parcels were checked; raise at the end if a check failed."""
    result = silence.check_all(TRACKING, TRACKS, datetime.now(UTC))
    if result.failed:
        message = f"{result.failed} of {result.due} parcels were not checked; they are in the log lines `parcel_not_checked`"
        raise silence.NotAllChecked(message)
    return {"outcome": "checked", "checked": result.checked}
