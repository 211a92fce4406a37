"""Batches that a consumer of a stream gave up on: their events go to the consumer's own queue.

A consumer sends what it cannot work off to its queue by itself. Only where that failed as well, or the function died of
the batch again and again, Lambda leaves a note about the batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from operations import key_ranges
from operations.key_ranges import KeyRange
from orderflow.aws import dynamodb
from orderflow.domain import documents

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class _FailedBatch(Struct, frozen=True):
    of_table: KeyRange | None = field(name="DDBStreamBatchInfo", default=None)
    of_kinesis: KeyRange | None = field(name="KinesisBatchInfo", default=None)


class _Type(Struct, frozen=True):
    type: str


_failed_batches: msgspec.json.Decoder[_FailedBatch] = msgspec.json.Decoder(_FailedBatch)
_types: msgspec.json.Decoder[_Type] = msgspec.json.Decoder(_Type)


def is_note(body: str) -> bool:
    """Return whether a dead letter is Lambda's note about a failed batch of a stream."""
    try:
        note = _failed_batches.decode(body)
    except msgspec.DecodeError:
        return False
    return bool(note.of_table or note.of_kinesis)


class FailedBatches:
    """Reads the streams, and sends to the queues."""

    def __init__(self, *, kinesis: Any, table_streams: Any, sqs: SQSClient) -> None:
        """Use these clients."""
        self._kinesis = kinesis
        self._table_streams = table_streams
        self._sqs = sqs

    def redrive(self, body: str, queue_url: str, types: Collection[str]) -> None:
        """Send the events of these types that a note is about to a queue.

        Raises:
            msgspec.DecodeError: it is no such note, or the stream's records are no events.
            Gone: the stream does not have the events any more.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the stream cannot be read, or the queue not written to.
        """
        note = _failed_batches.decode(body)
        for document in list(self._documents(note)):
            if _types.decode(document).type in types:
                self._sqs.send_message(QueueUrl=queue_url, MessageBody=documents.encode({"detail": msgspec.json.decode(document)}))

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
