"""Invoked by a schedule: sums up what was counted since, and ranks what sells best. By people: makes all sums again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from analytics import aggregation
from analytics.store import AnalyticsStore
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import logger, observed
from orderflow.aws.parallel import in_parallel

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ANALYTICS = AnalyticsStore(settings.required("ANALYTICS_TABLE"), client("dynamodb"), in_parallel)
# Enough for what is summed up at once.
_RESERVE_MILLISECONDS = 60_000


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sum up; with `recount`, have the next invocations make all sums again."""

    recount: bool = False


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer how many events were brought into the sums of how many minutes.

    Raises:
        msgspec.ValidationError: the event is no such request.
    """
    now = datetime.now(UTC)
    if msgspec.convert(event, Request).recount:
        return {"outcome": "recounting" if aggregation.start_recount(ANALYTICS, now) else "busy"}
    done = aggregation.aggregate(ANALYTICS, now, lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)
    logger.info("summed up", events=done.events, minutes=done.minutes)
    return {"outcome": "summed up", **msgspec.to_builtins(done)}
