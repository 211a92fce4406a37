"""Scheduled: finds sampled events that are overdue, logs and publishes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from operations import missing_events
from operations.republisher import EventReader, Republisher
from orderflow.aws import publisher, settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented, measure_nonzero
from orderflow.aws.outbox_index import OutboxIndex
from orderflow.domain import metrics

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

TABLE = settings.required("ORDER_LOG_TABLE")
INDEX = OutboxIndex(TABLE, client("dynamodb"))
REPUBLISHER = Republisher(EventReader(TABLE, client("dynamodb")), publisher.from_environment())
# Far longer than the publisher takes, retries of a batch included.
OVERDUE_AFTER = timedelta(minutes=10)


@instrumented
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return how many sampled events were overdue and published; raise at the end if one could not be published."""
    done = missing_events.publish_missing(INDEX, REPUBLISHER, now=datetime.now(UTC), overdue_after=OVERDUE_AFTER)
    measure_nonzero(metrics.OVERDUE_EVENTS, done.overdue)
    measure_nonzero(metrics.OLDEST_OVERDUE_EVENT_SECONDS, done.oldest_seconds)
    if done.failed:
        message = f"could not publish {done.failed} of {done.overdue} overdue events; see missing_event_not_published in the log"
        raise missing_events.MissingEventsNotPublished(message)
    return {"outcome": "reconciled", "overdue": done.overdue, "published": done.published}
