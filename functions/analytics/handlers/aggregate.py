"""Scheduled: adds new counts to totals and leaderboards. Invoked by operators: starts a recount of all totals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from analytics import aggregation
from analytics.store import AnalyticsStore
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented, logger
from orderflow.aws.parallel import in_parallel

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ANALYTICS = AnalyticsStore(settings.required("ANALYTICS_TABLE"), client("dynamodb"), in_parallel)
# Enough for one round.
_RESERVE_MILLISECONDS = 60_000


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Aggregate new counts; with `recount`, start a recount that the next invocations perform."""

    recount: bool = False


@instrumented
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Return how many events of how many minutes were added to the totals.

    Raises:
        msgspec.ValidationError: the event does not have the fields of a request.
    """
    now = datetime.now(UTC)
    if msgspec.convert(event, Request).recount:
        return {"outcome": "recounting" if aggregation.start_recount(ANALYTICS, now) else "busy"}
    done = aggregation.aggregate(ANALYTICS, now, lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)
    logger.info("counts_aggregated", events=done.events, minutes=done.minutes)
    return {"outcome": "summed up", **msgspec.to_builtins(done)}
