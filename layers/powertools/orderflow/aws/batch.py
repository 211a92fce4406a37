"""Processes batches of SQS messages or stream records, each message on its own."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,  # pyright: ignore[reportUnknownVariableType]
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse as PartialFailures

from orderflow.aws import tracing
from orderflow.aws.clients import client
from orderflow.aws.dynamodb import decode
from orderflow.aws.observability import annotate, line_counter, logger, measure, record_fault, tracer
from orderflow.domain import documents, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

__all__ = [
    "FailedRecordQueue",
    "PartialFailures",
    "process_messages",
    "process_order_versions",
    "process_orders",
    "process_orders_together",
]

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


class FailedRecordQueue:
    """The consumer's queue, to which it sends the records of a stream that failed: SQS retries them and finally dead-letters them."""

    def __init__(self, url: str) -> None:
        """Use the queue with this URL."""
        self._url = url

    def put(self, message: str) -> None:
        """Send a message. The SQS client is created on first use, because failures are rare."""
        client("sqs").send_message(QueueUrl=self._url, MessageBody=documents.encode(msgspec.json.decode(message)))


def process_messages(event: dict[str, Any], process: Callable[[str], object], queue: FailedRecordQueue | None = None) -> PartialFailures:
    """Call `process` with every message of a batch, and return the failed messages.

    SQS: the message is the body. SQS redelivers failed messages and finally dead-letters them. Log keys of one message never
    appear on the lines of another. If all messages fail, the answer has the same form and the invocation succeeds, because the
    queue has its own alarms.

    Kinesis and the stream of the order log (with `queue`): the message has the form of a bus event. Failed messages go to `queue`, so
    that an event never blocks its shard. If a message cannot be sent there, the invocation fails and Lambda retries the batch.
    """
    if queue and _is_from_stream(event):
        return _process_stream_messages(map(_stream_message, event["Records"]), process, queue)
    # A processor stores the messages that it processed, so each batch has its own.
    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)

    def process_record(record: SQSRecord) -> None:
        _process_message(record.body, process, message_id=record.message_id, receives=record.attributes.approximate_receive_count)

    return process_partial_response(event, process_record, processor)


def process_orders(event: dict[str, Any], process: Callable[[str], object], queue: FailedRecordQueue | None = None) -> PartialFailures:
    """Call `process` with the order id of each event in a batch, and return the failed messages as `process_messages` does.

    For consumers that read the current order. In a batch from a stream, an order with several events is processed once.
    """
    return process_order_versions(event, lambda order_id, _: process(order_id), queue)


def process_order_versions(
    event: dict[str, Any], process: Callable[[str, int | None], object], queue: FailedRecordQueue | None = None
) -> PartialFailures:
    """Call `process` with order id and version of each event in a batch, and return the failed messages as `process_messages` does.

    For consumers that read the order at this version or later. The version is None if the message has none. In a batch from a stream,
    an order with several events is processed once, at the latest version.
    """

    def process_event(message: str) -> None:
        ids = _bus_events.decode(message).detail
        annotate(correlation_id=ids.correlation_id, order_id=ids.order_id, event_id=ids.event_id)
        process(ids.order_id, ids.order_version)

    if queue and _is_from_stream(event):
        return _process_stream_messages(_latest_message_of_each_order(event), process_event, queue)
    return process_messages(event, process_event)


def process_orders_together(event: dict[str, Any], process: Callable[[list[str]], Mapping[str, Exception]]) -> PartialFailures:
    """Call `process` once with all order ids of an SQS batch, and return the messages of failed orders.

    `process` returns the errors by order id, and logs one line for each other order. A malformed message fails alone.
    """
    message_ids: dict[str, list[str]] = {}
    ids_by_order: dict[str, _Ids] = {}
    failed: list[str] = []
    for record in event["Records"]:
        try:
            ids = _bus_events.decode(record["body"]).detail
        except msgspec.DecodeError:
            logger.exception("message_failed", message_id=record["messageId"])
            failed.append(record["messageId"])
        else:
            message_ids.setdefault(ids.order_id, []).append(record["messageId"])
            ids_by_order[ids.order_id] = ids
    begun = time.time()
    with line_counter.count_message():
        errors: Mapping[str, Exception] = process(list(message_ids)) if message_ids else {}
        for record in event["Records"]:
            if trace := tracing.header_in(record["body"]):
                tracing.record(trace, begun)
        for order_id, error in errors.items():
            logger.error("message_failed", order_id=order_id, correlation_id=ids_by_order[order_id].correlation_id, exc_info=error)
            failed += message_ids[order_id]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _process_stream_messages(messages: Iterable[str], process: Callable[[str], object], queue: FailedRecordQueue) -> PartialFailures:
    for message in messages:
        try:
            _process_message(message, process)
        except Exception:  # noqa: BLE001 - logged, and retried from the queue
            measure(metrics.RETRIED_MESSAGES, 1)
            queue.put(message)
    return {"batchItemFailures": []}


@tracer.capture_method(capture_response=False, capture_error=False)
def _process_message(message: str, process: Callable[[str], object], *, message_id: str | None = None, receives: str | None = None) -> None:
    logger.remove_keys(_KEYS)
    annotate(message_id=message_id)
    if receives and receives != "1":
        measure(metrics.RETRIED_MESSAGES, 1)
    begun, trace = time.time(), tracing.header_in(message)
    try:
        with line_counter.count_message(), tracing.continued(trace):
            process(message)
    except Exception:
        logger.exception("message_failed", receives=receives)
        if not trace:
            record_fault(begun)
        raise
    finally:
        logger.remove_keys(_KEYS)


def _is_from_stream(event: dict[str, Any]) -> bool:
    return any("kinesis" in record or "dynamodb" in record for record in event["Records"])


def _stream_message(record: dict[str, Any]) -> str:
    """Return a stream record in the form of a bus event; of a malformed record, only its id and source."""
    try:
        return msgspec.json.encode({"detail": _raw.decode(_event_document(record))}).decode()
    except (KeyError, ValueError):
        return msgspec.json.encode({"no_event": record.get("eventID"), "of": record.get("eventSourceARN")}).decode()


def _event_document(record: dict[str, Any]) -> bytes:
    if "kinesis" in record:
        return base64.b64decode(record["kinesis"]["data"], validate=True)
    return decode(record["dynamodb"]["NewImage"]["event"]).encode()


def _latest_message_of_each_order(event: dict[str, Any]) -> list[str]:
    latest: dict[str, tuple[int, str]] = {}
    for message in map(_stream_message, event["Records"]):
        order_id, version = _order_version(message)
        if order_id not in latest or version >= latest[order_id][0]:
            latest[order_id] = version, message
    return [message for _, message in latest.values()]


def _order_version(message: str) -> tuple[str, int]:
    """Return order id and version of a message; a malformed message counts as an order of its own."""
    try:
        ids = _bus_events.decode(message).detail
    except msgspec.DecodeError:
        return message, 0
    return ids.order_id, ids.order_version or 0
