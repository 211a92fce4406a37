"""Redrives failed stream batches: their events go to the consumer's queue.

A consumer sends failed records to its queue itself. If that fails too, or the function keeps crashing, Lambda sends a
message about the batch to the dead-letter queue.
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


def is_failed_batch(body: str) -> bool:
    """Return whether a dead letter is Lambda's message about a failed stream batch."""
    try:
        batch = _failed_batches.decode(body)
    except msgspec.DecodeError:
        return False
    return bool(batch.of_table or batch.of_kinesis)


class FailedBatches:
    """Reads failed batches from their streams and sends their events to queues."""

    def __init__(self, *, kinesis: Any, table_streams: Any, sqs: SQSClient) -> None:
        """Use these clients."""
        self._kinesis = kinesis
        self._table_streams = table_streams
        self._sqs = sqs

    def redrive(self, body: str, queue_url: str, types: Collection[str]) -> None:
        """Send the events of these types in a failed batch to a queue.

        Raises:
            msgspec.DecodeError: the message names no batch, or the stream's records are malformed.
            RecordsExpired: the stream no longer has the records.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the stream cannot be read, or the queue not written to.
        """
        batch = _failed_batches.decode(body)
        for document in list(self._documents(batch)):
            if _types.decode(document).type in types:
                self._sqs.send_message(QueueUrl=queue_url, MessageBody=documents.encode({"detail": msgspec.json.decode(document)}))

    def _documents(self, batch: _FailedBatch) -> Iterator[bytes]:
        if batch.of_kinesis:
            yield from (record["Data"] for record in key_ranges.kinesis_records(batch.of_kinesis, self._kinesis))
        elif batch.of_table:
            records = key_ranges.table_records(batch.of_table, self._table_streams)
            yield from (
                dynamodb.decode(record["dynamodb"]["NewImage"]["event"]).encode() for record in records if record["eventName"] == "INSERT"
            )
        else:
            message = "the message names no range of a stream"
            raise msgspec.ValidationError(message)
