"""Invoked by a schedule: sums up what was counted since, and ranks what sells best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from analytics import recalculation
from analytics.store import Analytics
from orderflow import settings
from orderflow.clients import client
from orderflow.observability import logger, observed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ANALYTICS = Analytics(settings.required("ANALYTICS_TABLE"), client("dynamodb"))
# Enough for what is summed up at once.
_RESERVE_MILLISECONDS = 60_000


@observed
def handler(_event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer how many events were brought into the sums of how many minutes."""
    done = recalculation.run(ANALYTICS, lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)
    logger.info("summed up", events=done.events, minutes=done.minutes)
    return {"outcome": "summed up", **msgspec.to_builtins(done)}
