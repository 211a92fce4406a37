"""Working off a batch of SQS messages, each on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,  # pyright: ignore[reportUnknownVariableType]
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse as PartialFailures

from orderflow.observability import identify, logger, tracer

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

__all__ = ["PartialFailures", "each_order", "each_record"]

_KEYS = ("message_id", "correlation_id", "order_id", "event_id")


class _Ids(msgspec.Struct, frozen=True):
    order_id: str
    correlation_id: str
    event_id: str


class _BusEvent(msgspec.Struct, frozen=True):
    detail: _Ids


_bus_events: msgspec.json.Decoder[_BusEvent] = msgspec.json.Decoder(_BusEvent)


def each_order(event: dict[str, Any], work: Callable[[str], object]) -> PartialFailures:
    """Call `work` with the id of the order that each message's event is about, as `each_record` does with its body.

    For consumers that an event only wakes: they look at the order as it is now, whatever happened to it.
    """

    def wake(body: str) -> None:
        ids = _bus_events.decode(body).detail
        identify(correlation_id=ids.correlation_id, order_id=ids.order_id, event_id=ids.event_id)
        work(ids.order_id)

    return each_record(event, wake)


def each_record(event: dict[str, Any], work: Callable[[str], object]) -> PartialFailures:
    """Call `work` with the body of every SQS message of `event`; answer with those that failed.

    SQS delivers what failed again, on its own, and in the end to the dead-letter queue. Log keys of
    one message never show on the next one's lines. A batch that failed as a whole is answered the
    same way and is no error of the function: the queue's own alarms speak for its messages.
    """
    # A processor keeps what it handled, so each call has its own.
    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)

    def one(record: SQSRecord) -> None:
        _one(record, work)

    return process_partial_response(event, one, processor)


@tracer.capture_method(capture_response=False, capture_error=False)
def _one(record: SQSRecord, work: Callable[[str], object]) -> None:
    logger.remove_keys(_KEYS)
    identify(message_id=record.message_id)
    try:
        work(record.body)
    except Exception:
        logger.exception("message failed", receives=record.attributes.approximate_receive_count)
        raise
    finally:
        logger.remove_keys(_KEYS)
