"""Batches that a consumer of a stream gave up on: their events go to the consumer's own queue.

A consumer sends what it cannot work off to its queue by itself. Only where that failed as well, or the function died of
the batch again and again, Lambda leaves a note about the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from operations import key_ranges
from operations.key_ranges import KeyRange
from operations.redrive_routes import Consumer
from orderflow.aws import dynamodb
from orderflow.domain import documents

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class UnknownConsumer(LookupError):
    """The note is about a function that is no consumer of a stream."""


class _Context(Struct, frozen=True, rename="camel"):
    function_arn: str


class _FailedBatch(Struct, frozen=True):
    context: _Context = field(name="requestContext")
    of_table: KeyRange | None = field(name="DDBStreamBatchInfo", default=None)
    of_kinesis: KeyRange | None = field(name="KinesisBatchInfo", default=None)


class _Type(Struct, frozen=True):
    type: str


_failed_batches: msgspec.json.Decoder[_FailedBatch] = msgspec.json.Decoder(_FailedBatch)
_types: msgspec.json.Decoder[_Type] = msgspec.json.Decoder(_Type)


class FailedBatches:
    """Reads the streams, and sends to the queues."""

    def __init__(self, *, kinesis: Any, table_streams: Any, sqs: SQSClient) -> None:
        """Use these clients."""
        self._kinesis = kinesis
        self._table_streams = table_streams
        self._sqs = sqs

    def redrive(self, body: str, consumers: Mapping[str, Consumer]) -> None:
        """Send the events that a note is about to the queue of its consumer; `consumers` are by the name of the function.

        Raises:
            msgspec.DecodeError: it is no such note, or what is on the stream are no events.
            UnknownConsumer: it is about another function.
            Gone: the stream does not have the events any more.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the stream cannot be read, or the queue not written to.
        """
        note = _failed_batches.decode(body)
        function = note.context.function_arn.split(":")[6:7]
        if not function or function[0] not in consumers:
            raise UnknownConsumer(note.context.function_arn)
        consumer = consumers[function[0]]
        for document in list(self._documents(note)):
            if _types.decode(document).type in consumer.types:
                message = documents.encode({"detail": msgspec.json.decode(document)})
                self._sqs.send_message(QueueUrl=consumer.queue_url, MessageBody=message)

    def _documents(self, note: _FailedBatch) -> Iterator[bytes]:
        if note.of_kinesis:
            yield from (record["Data"] for record in key_ranges.kinesis_records(note.of_kinesis, self._kinesis))
        elif note.of_table:
            records = key_ranges.table_records(note.of_table, self._table_streams)
            yield from (
                dynamodb.decode(record["dynamodb"]["NewImage"]["event"]).encode() for record in records if record["eventName"] == "INSERT"
            )
        else:
            message = "the note names no stretch of a stream"
            raise msgspec.ValidationError(message)
