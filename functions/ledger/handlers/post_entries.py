"""Posts the journal entry of every event that moves money, once per event.

An entry is one item under the event's id, so deliveries may be duplicated, late, out of order or replayed. A message without
an entry fails alone and ends in the dead-letter queue.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ledger.domain import posting_rules
from ledger.entry_store import EntryStore
from orderflow.aws import bus_event, settings
from orderflow.aws.batch import FailedRecordQueue, PartialFailures, process_messages
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented, logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ENTRIES = EntryStore(settings.required("LEDGER_ENTRIES_TABLE"), client("dynamodb"))
FEES = posting_rules.parse_fees(settings.required("PROVIDER_FEES"))
FAILED_RECORDS = FailedRecordQueue(settings.required("RETRY_QUEUE_URL"))


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Post the entries of a batch from the stream or the queue; return the messages that must be redelivered."""
    return process_messages(event, post, FAILED_RECORDS)


def post(body: str) -> None:
    """Post the entry of one message, unless it is posted already.

    Raises:
        msgspec.DecodeError, UnknownEvent, NoMoneyMoved, Contradiction: no entry can be posted for the message.
    """
    event = bus_event.decode(body).event
    posted = ENTRIES.post(posting_rules.entry_for(event, FEES), datetime.now(UTC))
    logger.info("entry_posted" if posted else "entry_already_posted", type=event.type)
