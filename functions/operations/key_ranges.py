"""Stretches of a stream's shard: what Lambda says of a batch that a function gave up on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

# A note is about one batch, which is 500 records at most; empty pages come on the way to it.
_MOST_PAGES = 50


class RecordsExpired(RuntimeError):
    """The stream does not have the records any more."""


class KeyRange(Struct, frozen=True, rename="camel"):
    """A stretch of one shard of a stream, ends included."""

    stream_arn: str
    shard_id: str
    start_sequence_number: str
    end_sequence_number: str


def table_records(stretch: KeyRange, client: Any) -> Iterator[dict[str, Any]]:
    """Yield the records of a stretch of a table's stream.

    Raises:
        Gone: the stream does not have all of them any more.
        botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the stream cannot be read.
    """
    iterator = client.get_shard_iterator(
        StreamArn=stretch.stream_arn,
        ShardId=stretch.shard_id,
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        SequenceNumber=stretch.start_sequence_number,
    )["ShardIterator"]
    return _records(client, iterator, stretch, lambda record: record["dynamodb"]["SequenceNumber"])


def kinesis_records(stretch: KeyRange, client: Any) -> Iterator[dict[str, Any]]:
    """Yield the records of a stretch of a Kinesis stream. Raises what `of_table` raises."""
    iterator = client.get_shard_iterator(
        StreamARN=stretch.stream_arn,
        ShardId=stretch.shard_id,
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber=stretch.start_sequence_number,
    )["ShardIterator"]
    return _records(client, iterator, stretch, lambda record: record["SequenceNumber"])


def _records(client: Any, iterator: str | None, stretch: KeyRange, number_of: Callable[[Any], str]) -> Iterator[dict[str, Any]]:
    last = int(stretch.end_sequence_number)
    for _ in range(_MOST_PAGES):
        page = client.get_records(ShardIterator=iterator)
        for record in page["Records"]:
            number = int(number_of(record))
            if number <= last:
                yield record
            if number >= last:
                return
        iterator = page.get("NextShardIterator")
        if not iterator:
            break
    message = f"the stream does not come to {stretch.end_sequence_number}"
    raise RecordsExpired(message)
