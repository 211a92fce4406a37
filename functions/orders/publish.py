"""The outbox: carries every event of the order log's stream to the event bus.

At least once, and in no promised order: what the bus refused comes after what it took with it. A
batch whose events did not all arrive raises, so the stream brings it again; consumers take
duplicates by event id and order by version. A record that no retry can help is parked in the
dead-letter queue, so that its shard goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from orderflow import events, settings
from orderflow.clients import client
from orderflow.observability import logger, observed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

MAX_ENTRIES = 10
MAX_BYTES = 256 * 1024  # of one PutEvents call, all its entries together
_ENVELOPE_BYTES = 256  # of an entry beside its detail: source, detail type, bus

BUS = settings.required("EVENT_BUS")
DEAD_LETTERS = settings.required("PUBLISH_DEAD_LETTERS_URL")
_events = client("events")
_sqs = client("sqs")


class NotPublished(RuntimeError):
    """The bus did not take every event; the batch has to come again."""


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, int]:
    """Publish a batch of the table's stream and answer how many events it had."""
    logger.append_keys(event_ids=[event_id for record in event["Records"] if (event_id := _event_id(record))])
    entries = [entry for record in event["Records"] if (entry := _entry(record))]
    for batch in batches(entries):
        put(batch)
    return {"published": len(entries)}


def batches(entries: Sequence[PutEventsRequestEntryTypeDef]) -> Iterable[list[PutEventsRequestEntryTypeDef]]:
    """Cut entries into calls of at most 10 entries and 256 KB, keeping their order."""
    batch: list[PutEventsRequestEntryTypeDef] = []
    size = 0
    for entry in entries:
        weight = _weight(entry)
        if batch and (len(batch) == MAX_ENTRIES or size + weight > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += weight
    if batch:
        yield batch


def put(entries: list[PutEventsRequestEntryTypeDef]) -> None:
    """Put at most 10 entries on the bus.

    Raises:
        NotPublished: the bus refused some of them.
    """
    answer = _events.put_events(Entries=entries)
    if answer["FailedEntryCount"]:
        codes = sorted({code for entry in answer["Entries"] if (code := entry.get("ErrorCode"))})
        message = f"{answer['FailedEntryCount']} of {len(entries)} events were not taken: {', '.join(codes)}"
        raise NotPublished(message)


def _entry(record: dict[str, Any]) -> PutEventsRequestEntryTypeDef | None:
    try:
        document = record["dynamodb"]["NewImage"]["event"]["S"]
        event = events.decode(document)
    except (KeyError, msgspec.DecodeError, events.UnknownEvent) as error:
        _park(record, error)
        return None
    entry: PutEventsRequestEntryTypeDef = {
        "EventBusName": BUS,
        "Source": event.source,
        "DetailType": event.type,
        "Detail": document,
        "Time": event.occurred_at,
    }
    if _weight(entry) > MAX_BYTES:
        _park(record, ValueError("larger than the bus takes"))
        return None
    return entry


def _event_id(record: dict[str, Any]) -> str | None:
    try:
        key = record["dynamodb"]["Keys"]
        return f"{key['order_id']['S']}:{key['version']['N']}"
    except KeyError:
        return None


def _park(record: dict[str, Any], error: Exception) -> None:
    """Send the record's key, never its contents, to the dead-letter queue."""
    key = record.get("dynamodb", {}).get("Keys", {})
    logger.error("parked a record that cannot be published", key=key, error=type(error).__name__)
    body = msgspec.json.encode({"key": key, "error": type(error).__name__}).decode()
    _sqs.send_message(QueueUrl=DEAD_LETTERS, MessageBody=body)


def _weight(entry: PutEventsRequestEntryTypeDef) -> int:
    return len(entry.get("Detail", "").encode()) + _ENVELOPE_BYTES
