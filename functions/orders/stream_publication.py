"""Publishes the records of the order log's table stream, and dead-letters malformed ones."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from orderflow.aws import dynamodb, tracing
from orderflow.aws.event_bus import TooLarge
from orderflow.aws.observability import logger, measure, measure_nonzero
from orderflow.aws.order_log_items import UPDATE_MARKERS, is_append
from orderflow.domain import metrics
from orderflow.domain.events import UnknownEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_sqs import SQSClient

    from orderflow.aws.outbox_index import OutboxIndex
    from orderflow.aws.publisher import OutboundEvent, Publisher

LAGS_EVERY = timedelta(seconds=10)


class StreamPublication:
    """Publishes batches of the table stream."""

    def __init__(self, publisher: Publisher, outbox: OutboxIndex, sqs: SQSClient, dead_letters_url: str) -> None:
        """Publish with `publisher`, and send malformed records to the queue with this URL."""
        self._publisher = publisher
        self._outbox = outbox
        self._sqs = sqs
        self._dead_letters_url = dead_letters_url
        self.lags = PublicationLags()

    def publish(self, records: list[dict[str, Any]]) -> int:
        """Publish the appended events of a batch and return their number.

        Raises:
            NotPublished: bus or stream refused some of them.
        """
        logger.append_keys(event_ids=[event_id for record in records if (event_id := _event_id(record))])
        found = [(record, outbound) for record in records if _is_insert(record) and (outbound := self._outbound_event(record))]
        begun = time.time()
        self._publisher.publish([outbound for _, outbound in found])
        for _, outbound in found:
            if trace := tracing.header_in(outbound.document):
                tracing.record(trace, begun, order_id=outbound.order_id)
        self.lags.add(outbound for _, outbound in found)
        for record, _ in found:
            self._mark_published(record)
        return len(found)

    def _outbound_event(self, record: dict[str, Any]) -> OutboundEvent | None:
        try:
            return self._publisher.outbound_event(dynamodb.decode(record["dynamodb"]["NewImage"]["event"]))
        except (KeyError, msgspec.DecodeError, UnknownEvent, TooLarge) as error:
            self._dead_letter(record, error)
            return None

    def _mark_published(self, record: dict[str, Any]) -> None:
        """Mark an event of a sampled order as published. After a failure it is published again, so the stream continues."""
        if "outbox" not in record["dynamodb"]["NewImage"]:
            return
        key = record["dynamodb"]["Keys"]
        try:
            self._outbox.clear(**dynamodb.decode_item(key))
        except (BotoCoreError, ClientError) as error:
            logger.warning("event_not_marked_as_published", key=key, error=type(error).__name__)

    def _dead_letter(self, record: dict[str, Any], error: Exception) -> None:
        """Send the record's key, never its contents, to the dead-letter queue."""
        key = record.get("dynamodb", {}).get("Keys", {})
        logger.error("record_dead_lettered", key=key, error=type(error).__name__)
        body = msgspec.json.encode({"key": key, "error": type(error).__name__}).decode()
        self._sqs.send_message(QueueUrl=self._dead_letters_url, MessageBody=body)


class PublicationLags:
    """Measures how long events waited for their publication; the clocks of two processes may differ.

    A busy publisher writes the lags of ten seconds together, because a line for each batch would cost as much as all its other lines.
    """

    def __init__(self) -> None:
        """Start without lags."""
        self._seconds: list[float] = []
        self.written_at = datetime.fromtimestamp(0, UTC)

    def add(self, published: Iterable[OutboundEvent]) -> None:
        """Add the lags of published events, and write all lags if the last write was ten seconds ago."""
        now = datetime.now(UTC)
        self._seconds.extend(max(0.0, round((now - outbound.appended_at).total_seconds(), 3)) for outbound in published)
        if now - self.written_at >= LAGS_EVERY or len(self._seconds) >= metrics.MAX_VALUES:
            for lag in self._seconds:
                measure(metrics.PUBLICATION_LAG_SECONDS, lag)
            self._seconds.clear()
            self.written_at = now


def _is_insert(record: dict[str, Any]) -> bool:
    """Return whether a record is an appended event; report a changed or deleted item, and ignore a restored one."""
    if is_append(record):
        return True
    changed = record["dynamodb"]
    if not any(marker in changed.get("NewImage", {}) for marker in UPDATE_MARKERS):
        logger.error("order_log_overwritten", key=changed["Keys"], change=record["eventName"])
        measure_nonzero(metrics.ORDER_LOG_OVERWRITES, 1)
    return False


def _event_id(record: dict[str, Any]) -> str | None:
    try:
        key = dynamodb.decode_item(record["dynamodb"]["Keys"])
        return f"{key['order_id']}:{key['version']}"
    except KeyError:
        return None
