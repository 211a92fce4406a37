"""Processes batches of SQS messages or stream records, each message on its own."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,  # pyright: ignore[reportUnknownVariableType]
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse as PartialFailures

from orderflow.aws.clients import client
from orderflow.aws.dynamodb import decode
from orderflow.aws.observability import identify, lines, logger, measure, tracer
from orderflow.domain import documents, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

__all__ = ["PartialFailures", "RetryQueue", "all_orders", "each_change", "each_order", "each_record"]

_KEYS = ("message_id", "correlation_id", "order_id", "event_id")


class _Ids(msgspec.Struct, frozen=True):
    order_id: str
    correlation_id: str
    event_id: str
    order_version: int | None = None


class _BusEvent(msgspec.Struct, frozen=True):
    detail: _Ids


_raw: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)
_bus_events: msgspec.json.Decoder[_BusEvent] = msgspec.json.Decoder(_BusEvent)


class RetryQueue:
    """The queue from which a stream consumer retries its failed records before they are dead-lettered."""

    def __init__(self, url: str) -> None:
        """Send to the queue of this URL."""
        self._url = url

    def put(self, message: str) -> None:
        """Send a message to be retried. The client is created on first use, because failures are rare."""
        client("sqs").send_message(QueueUrl=self._url, MessageBody=documents.encode(msgspec.json.decode(message)))


def each_order(event: dict[str, Any], work: Callable[[str], object], retries: RetryQueue | None = None) -> PartialFailures:
    """Call `work` with the id of the order that each event is about, as `each_record` does with its message.

    For consumers that an event only triggers: they read the current order. So an order with several events in one
    batch is processed once.
    """
    return each_change(event, lambda order_id, _: work(order_id), retries)


def each_change(event: dict[str, Any], work: Callable[[str, int | None], object], retries: RetryQueue | None = None) -> PartialFailures:
    """Call `work` with the order's id and the version that the event made it, as `each_order` does with the id.

    For consumers that can do with a copy of the log which has that event. No version, where the message gives none.
    """

    def wake(body: str) -> None:
        ids = _bus_events.decode(body).detail
        identify(correlation_id=ids.correlation_id, order_id=ids.order_id, event_id=ids.event_id)
        work(ids.order_id, ids.order_version)

    if retries and _is_of_stream(event):
        return _each_of_stream(_latest_of_each_order(event), wake, retries)
    return each_record(event, wake)


def all_orders(event: dict[str, Any], work: Callable[[list[str]], Mapping[str, Exception]]) -> PartialFailures:
    """Call `work` once with the ids of all the orders that the messages of an SQS batch are about; answer with those that failed.

    For consumers that work on many orders at once. `work` answers what keeps some of the orders from their end, and logs a line for each
    of the others. A malformed message fails alone.
    """
    messages: dict[str, list[str]] = {}
    about: dict[str, _Ids] = {}
    failed: list[str] = []
    for record in event["Records"]:
        try:
            ids = _bus_events.decode(record["body"]).detail
        except msgspec.DecodeError:
            logger.exception("message failed", message_id=record["messageId"])
            failed.append(record["messageId"])
        else:
            messages.setdefault(ids.order_id, []).append(record["messageId"])
            about[ids.order_id] = ids
    errors: Mapping[str, Exception] = {}
    with lines.of_message():
        errors = work(list(messages)) if messages else {}
        for order_id, error in errors.items():
            logger.error("message failed", order_id=order_id, correlation_id=about[order_id].correlation_id, exc_info=error)
            failed += messages[order_id]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def each_record(event: dict[str, Any], work: Callable[[str], object], retries: RetryQueue | None = None) -> PartialFailures:
    """Call `work` with every message of `event`; answer with those that failed.

    In a batch of SQS, a message is the body; SQS redelivers failed messages alone and finally dead-letters them. Log keys of
    one message never appear on another's lines. A batch that failed completely is reported the same way, not as an error of
    the function: the queue has its own alarms.

    In a batch of Kinesis or of the order log's table, a message is the event as the bus would deliver it; failed messages go
    to the queue `retries`, so that an event never blocks its shard. If that fails too, the batch fails and is retried.
    """
    if retries and _is_of_stream(event):
        return _each_of_stream(map(_message, event["Records"]), work, retries)
    # A processor keeps what it handled, so each call has its own.
    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)

    def one(record: SQSRecord) -> None:
        _one(record.body, work, message_id=record.message_id, receives=record.attributes.approximate_receive_count)

    return process_partial_response(event, one, processor)


def _each_of_stream(messages: Iterable[str], work: Callable[[str], object], retries: RetryQueue) -> PartialFailures:
    for message in messages:
        try:
            _one(message, work)
        except Exception:  # noqa: BLE001 - logged, and retried from the queue
            measure(metrics.RETRIED_MESSAGES, 1)
            retries.put(message)
    return {"batchItemFailures": []}


@tracer.capture_method(capture_response=False, capture_error=False)
def _one(message: str, work: Callable[[str], object], *, message_id: str | None = None, receives: str | None = None) -> None:
    logger.remove_keys(_KEYS)
    identify(message_id=message_id)
    if receives and receives != "1":
        measure(metrics.RETRIED_MESSAGES, 1)
    try:
        with lines.of_message():
            work(message)
    except Exception:
        logger.exception("message failed", receives=receives)
        raise
    finally:
        logger.remove_keys(_KEYS)


def _is_of_stream(event: dict[str, Any]) -> bool:
    return any("kinesis" in record or "dynamodb" in record for record in event["Records"])


def _message(record: dict[str, Any]) -> str:
    """Return a stream record as the bus would deliver it; of a malformed record, only its id and source."""
    try:
        return msgspec.json.encode({"detail": _raw.decode(_document(record))}).decode()
    except (KeyError, ValueError):
        return msgspec.json.encode({"no_event": record.get("eventID"), "of": record.get("eventSourceARN")}).decode()


def _document(record: dict[str, Any]) -> bytes:
    if "kinesis" in record:
        return base64.b64decode(record["kinesis"]["data"], validate=True)
    return decode(record["dynamodb"]["NewImage"]["event"]).encode()


def _latest_of_each_order(event: dict[str, Any]) -> list[str]:
    """Return the latest message of each order in a stream's batch."""
    latest: dict[str, tuple[int, str]] = {}
    for message in map(_message, event["Records"]):
        order, version = _place(message)
        if order not in latest or version >= latest[order][0]:
            latest[order] = version, message
    return [message for _, message in latest.values()]


def _place(message: str) -> tuple[str, int]:
    try:
        ids = _bus_events.decode(message).detail
    except msgspec.DecodeError:
        return message, 0
    return ids.order_id, ids.order_version or 0
