"""Counts the events of a batch in one write; `analytics.handlers.aggregate` adds the counts to the totals.

Counts are stored under the event's id, so deliveries may be duplicated, late, out of order or replayed. A message without an
event fails alone and ends in the dead-letter queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analytics.domain import counting_rules
from analytics.domain.counting_rules import Count
from analytics.store import AnalyticsStore
from orderflow.aws import bus_event, settings
from orderflow.aws.batch import FailedRecordQueue, PartialFailures, process_messages
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented, logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ANALYTICS = AnalyticsStore(settings.required("ANALYTICS_TABLE"), client("dynamodb"))
FAILED_RECORDS = FailedRecordQueue(settings.required("RETRY_QUEUE_URL"))


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Count the events of a batch; return the messages that must be redelivered.

    If the write fails, the whole batch is redelivered.
    """
    counts: list[Count] = []
    failures = process_messages(event, lambda body: counts.append(counting_rules.count_event(bus_event.decode(body).event)), FAILED_RECORDS)
    counted = [count for count in counts if count.counters]
    ANALYTICS.add(counted)
    logger.append_keys(events=len(counted))
    return failures
