"""Writes down what the events of a batch count as, in one write; `analytics.handlers.aggregate` sums it up.

What an event counts as is kept under its id, so deliveries may come twice, late, in any order, or out of the archive. A message
that is no event fails alone and ends in the dead-letter queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from analytics.domain import counting_rules
from analytics.domain.counting_rules import Count
from analytics.store import AnalyticsStore
from orderflow.aws import settings
from orderflow.aws.batch import PartialFailures, RetryQueue, each_record
from orderflow.aws.clients import client
from orderflow.aws.observability import logger, observed
from orderflow.domain import events

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ANALYTICS = AnalyticsStore(settings.required("ANALYTICS_TABLE"), client("dynamodb"))
RETRIES = RetryQueue(settings.required("RETRY_QUEUE_URL"))


class BusEvent(msgspec.Struct):
    """What EventBridge delivers; `detail` is our own envelope."""

    detail: msgspec.Raw


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Count what a batch of the stream, or of the queue, brings; answer with the messages that have to come back.

    Where it cannot be written, the whole batch comes again.
    """
    counts: list[Count] = []
    answer = each_record(event, lambda body: counts.extend(_counts(body)), RETRIES)
    ANALYTICS.add(counts)
    logger.append_keys(events=len(counts))
    return answer


def _counts(body: str) -> list[Count]:
    """Return what a message counts as; nothing for an event that counts as nothing.

    Raises:
        msgspec.DecodeError, UnknownEvent: it is no event.
    """
    one = counting_rules.count_event(events.decode(bytes(msgspec.json.decode(body, type=BusEvent).detail)))
    return [one] if one.counters else []
