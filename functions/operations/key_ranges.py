"""Key ranges of a stream's shard, as Lambda names them in its message about a failed batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

# A batch has 500 records at most, but a shard can answer with empty pages before it reaches them.
_MAX_PAGES = 50


class RecordsExpired(RuntimeError):
    """The stream no longer holds the records."""


class KeyRange(Struct, frozen=True, rename="camel"):
    """Sequence numbers of one shard of a stream, both ends included."""

    stream_arn: str
    shard_id: str
    start_sequence_number: str
    end_sequence_number: str


def table_records(key_range: KeyRange, client: Any) -> Iterator[dict[str, Any]]:
    """Yield the records of a key range of a table's stream.

    Raises:
        RecordsExpired: the stream no longer holds all of them.
        botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the stream cannot be read.
    """
    iterator = client.get_shard_iterator(
        StreamArn=key_range.stream_arn,
        ShardId=key_range.shard_id,
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        SequenceNumber=key_range.start_sequence_number,
    )["ShardIterator"]
    return _records(client, iterator, key_range, lambda record: record["dynamodb"]["SequenceNumber"])


def kinesis_records(key_range: KeyRange, client: Any) -> Iterator[dict[str, Any]]:
    """Yield the records of a key range of a Kinesis stream. Raises as `table_records`."""
    iterator = client.get_shard_iterator(
        StreamARN=key_range.stream_arn,
        ShardId=key_range.shard_id,
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber=key_range.start_sequence_number,
    )["ShardIterator"]
    return _records(client, iterator, key_range, lambda record: record["SequenceNumber"])


def _records(client: Any, iterator: str | None, key_range: KeyRange, number_of: Callable[[Any], str]) -> Iterator[dict[str, Any]]:
    first, last, found = int(key_range.start_sequence_number), int(key_range.end_sequence_number), False
    for _ in range(_MAX_PAGES):
        page = client.get_records(ShardIterator=iterator)
        for record in page["Records"]:
            number = int(number_of(record))
            if not found and number > first:
                # The first record of the batch expired, and with it perhaps others: Kinesis continues with the oldest that it has.
                message = f"shard {key_range.shard_id} begins after record {key_range.start_sequence_number}"
                raise RecordsExpired(message)
            found = True
            if number <= last:
                yield record
            if number >= last:
                return
        iterator = page.get("NextShardIterator")
        if not iterator:
            break
    message = f"shard {key_range.shard_id} has no record {key_range.end_sequence_number}"
    raise RecordsExpired(message)
