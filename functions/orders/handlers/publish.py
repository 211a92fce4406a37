"""The outbox: publishes every event of the order log's table stream to the event stream, and most of them to the event bus.

At least once and unordered: refused events are published after the accepted ones of their batch. A batch with a refused
event raises and is retried; consumers deduplicate by event id and order by version. A malformed record is dead-lettered, so
that its shard continues. Events of sampled orders are marked as published, for `publish_missing_events`.

An overwritten or deleted item of the log, which no code here causes, is reported and never published.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from orderflow.aws import dynamodb, publisher, settings
from orderflow.aws.clients import client
from orderflow.aws.event_bus import TooLarge
from orderflow.aws.observability import instrumented, logger, measure, measure_nonzero
from orderflow.aws.order_log_items import UPDATE_MARKERS
from orderflow.aws.outbox_index import OutboxIndex
from orderflow.domain import metrics
from orderflow.domain.events import UnknownEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.publisher import OutboundEvent

PUBLISHER = publisher.from_environment()
DEAD_LETTERS = settings.required("PUBLISH_DEAD_LETTERS_URL")
LAGS_EVERY = timedelta(seconds=10)
OUTBOX = OutboxIndex(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
_sqs = client("sqs")


class Lags(list[float]):
    """Seconds that published events waited, and when (UTC) such seconds were last written."""

    written_at = datetime.fromtimestamp(0, UTC)


LAGS = Lags()


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, int]:
    """Publish a batch of the table's stream and answer the number of events."""
    logger.append_keys(event_ids=[event_id for record in event["Records"] if (event_id := _event_id(record))])
    found = [(record, outbound) for record in event["Records"] if _is_insert(record) and (outbound := _outbound_event(record))]
    PUBLISHER.publish([outbound for _, outbound in found])
    _measure_lag([outbound for _, outbound in found])
    for record, _ in found:
        _mark_published(record)
    return {"published": len(found)}


def _measure_lag(published: Iterable[OutboundEvent]) -> None:
    """Measure how long events waited for their publication; the clocks of two processes may differ.

    A busy publisher writes the lags of ten seconds together, because a line for each batch would cost as much as all its other lines.
    """
    now = datetime.now(UTC)
    LAGS.extend(max(0.0, round((now - outbound.appended_at).total_seconds(), 3)) for outbound in published)
    if now - LAGS.written_at >= LAGS_EVERY or len(LAGS) >= metrics.MAX_VALUES:
        for lag in LAGS:
            measure(metrics.PUBLICATION_LAG_SECONDS, lag)
        LAGS.clear()
        LAGS.written_at = now


def _is_insert(record: dict[str, Any]) -> bool:
    """Return whether a record is an appended event; report a changed or deleted one."""
    if record["eventName"] == "INSERT":
        return True
    changed = record["dynamodb"]
    if not any(marker in changed.get("NewImage", {}) for marker in UPDATE_MARKERS):
        logger.error("order_log_overwritten", key=changed["Keys"], change=record["eventName"])
        measure_nonzero(metrics.ORDER_LOG_OVERWRITES, 1)
    return False


def _outbound_event(record: dict[str, Any]) -> OutboundEvent | None:
    try:
        return PUBLISHER.outbound_event(dynamodb.decode(record["dynamodb"]["NewImage"]["event"]))
    except (KeyError, msgspec.DecodeError, UnknownEvent, TooLarge) as error:
        _park(record, error)
        return None


def _mark_published(record: dict[str, Any]) -> None:
    """Mark an event of a sampled order as published. After a failure it is published again, so the stream continues."""
    if "outbox" not in record["dynamodb"]["NewImage"]:
        return
    key = record["dynamodb"]["Keys"]
    try:
        OUTBOX.clear(**dynamodb.decode_item(key))
    except (BotoCoreError, ClientError) as error:
        logger.warning("event_not_marked_as_published", key=key, error=type(error).__name__)


def _event_id(record: dict[str, Any]) -> str | None:
    try:
        key = dynamodb.decode_item(record["dynamodb"]["Keys"])
        return f"{key['order_id']}:{key['version']}"
    except KeyError:
        return None


def _park(record: dict[str, Any], error: Exception) -> None:
    """Send the record's key, never its contents, to the dead-letter queue."""
    key = record.get("dynamodb", {}).get("Keys", {})
    logger.error("record_dead_lettered", key=key, error=type(error).__name__)
    body = msgspec.json.encode({"key": key, "error": type(error).__name__}).decode()
    _sqs.send_message(QueueUrl=DEAD_LETTERS, MessageBody=body)
