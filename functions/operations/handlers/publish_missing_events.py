"""Scheduled: compares the order log with the bus: an event that was written and did not get there is told of, and published."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit

from operations import missing_events
from operations.republisher import EventReader
from orderflow.aws import publisher, settings
from orderflow.aws.clients import client
from orderflow.aws.observability import add_nonzero_metric, observed
from orderflow.aws.outbox_index import OutboxIndex

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

OUTBOX = OutboxIndex(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
EVENTS = EventReader(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
PUBLISHER = publisher.from_environment()
# Far longer than the publisher takes, also when a batch comes to it again a few times.
OVERDUE_AFTER = timedelta(minutes=10)


@observed
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Answer how many sampled events were overdue and published; fail at the end if any could not be tried."""
    done = missing_events.publish_missing(OUTBOX, EVENTS, PUBLISHER, now=datetime.now(UTC), overdue_after=OVERDUE_AFTER)
    add_nonzero_metric("OverdueEvents", MetricUnit.Count, done.overdue)
    add_nonzero_metric("OldestOverdueEventSeconds", MetricUnit.Seconds, done.oldest_seconds)
    if done.failed:
        message = f"{done.failed} of {done.overdue} overdue events could not be published; the log names them"
        raise missing_events.MissingEventsNotPublished(message)
    return {"outcome": "reconciled", "overdue": done.overdue, "published": done.published}
