"""Posts an entry for every event that moves money, once per event.

An entry is one item under the event's id, so deliveries may come twice, late, in any order, or out of the archive. A message
that leads to no entry fails alone and ends in the dead-letter queue.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.domain import posting_rules
from ledger.entry_store import EntryStore
from orderflow.aws import settings
from orderflow.aws.batch import PartialFailures, RetryQueue, each_record
from orderflow.aws.clients import client
from orderflow.aws.observability import identify, logger, observed
from orderflow.domain import events

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ENTRIES = EntryStore(settings.required("LEDGER_ENTRIES_TABLE"), client("dynamodb"))
FEES = posting_rules.parse_fees(settings.required("PROVIDER_FEES"))
RETRIES = RetryQueue(settings.required("RETRY_QUEUE_URL"))


class BusEvent(msgspec.Struct):
    """What EventBridge delivers; `detail` is our own envelope."""

    detail: msgspec.Raw


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Post what a batch of the stream, or of the queue, brings; answer with the messages that have to come back."""
    return each_record(event, post, RETRIES)


def post(body: str) -> None:
    """Post the entry of one message, unless it was posted before.

    Raises:
        msgspec.DecodeError, UnknownEvent, Unpostable, Contradiction: the message will never lead to an entry.
    """
    delivered = msgspec.json.decode(body, type=BusEvent)
    event = events.decode(bytes(delivered.detail))
    identify(correlation_id=event.correlation_id, order_id=event.order_id, event_id=event.event_id)
    new = ENTRIES.post(posting_rules.entry_for(event, FEES), datetime.now(UTC))
    logger.info("posted" if new else "posted before", type=event.type)
