"""Publishing again what the stream's publisher gave up on: the keys are in its dead letters, the events in the order log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from orderflow.bus import Bus, TooLarge
from orderflow.events import UnknownEvent

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient

# A note is about one batch, which is 100 records at most; empty pages come on the way to it.
_MOST_PAGES = 50


class Unpublishable(RuntimeError):
    """What a message is about cannot be published (any more)."""


class _Text(Struct, frozen=True):
    value: str = field(name="S")


class _Number(Struct, frozen=True):
    value: Annotated[str, Meta(pattern="^[0-9]+$")] = field(name="N")


class Key(Struct, frozen=True):
    """The key of an event's item in the order log."""

    order_id: _Text
    version: _Number


class _Parked(Struct, frozen=True):
    key: Key


class _Stretch(Struct, frozen=True, rename="camel"):
    """A stretch of one shard of the log's stream, ends included."""

    stream_arn: str
    shard_id: str
    start_sequence_number: str
    end_sequence_number: str


class _Note(Struct, frozen=True):
    stretch: _Stretch = field(name="DDBStreamBatchInfo")


_parked = msgspec.json.Decoder(_Parked)
_notes = msgspec.json.Decoder(_Note)


class Written:
    """The events of the order log, as what has to reach the bus."""

    def __init__(self, table: str, dynamodb: DynamoDBClient) -> None:
        """Read the log's table."""
        self._table = table
        self._dynamodb = dynamodb

    def publish(self, bus: Bus, keys: Iterable[tuple[str, int]]) -> None:
        """Put the events with these keys (order id, version) on the bus.

        Raises:
            Unpublishable: one is not in the log, or none that the bus takes.
            NotPublished: the bus refused some.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the log cannot be read.
        """
        try:
            bus.put([bus.entry(self._document(*key)) for key in keys])
        except (UnknownEvent, TooLarge, msgspec.DecodeError) as error:
            message = f"{type(error).__name__}: {error}"
            raise Unpublishable(message) from None

    def _document(self, order_id: str, version: int) -> str:
        item = {"order_id": {"S": order_id}, "version": {"N": str(version)}}
        found = self._dynamodb.get_item(TableName=self._table, Key=item, ConsistentRead=True).get("Item", {})
        if "event" not in found:
            message = f"{order_id}:{version} is not in the log"
            raise Unpublishable(message)
        return found["event"]["S"]  # pyright: ignore[reportTypedDictNotRequiredAccess]


class Outbox:
    """What the publisher gave up on."""

    def __init__(self, table: str, *, dynamodb: DynamoDBClient, streams: Any, events: EventBridgeClient) -> None:
        """Read the events from the log's table, and from its stream which of them a note is about."""
        self._written = Written(table, dynamodb)
        self._streams = streams
        self._events = events

    def publish(self, bus: str, body: str) -> None:
        """Put the events that a dead letter of the publisher is about on the bus.

        Raises:
            msgspec.DecodeError: it is no such message.
            Unpublishable: the stream does not have them any more, or they are none that the bus takes.
            NotPublished: the bus refused some.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: log or stream cannot be read.
        """
        self._written.publish(Bus(bus, self._events), [(key.order_id.value, int(key.version.value)) for key in self._keys(body)])

    def _keys(self, body: str) -> list[Key]:
        try:
            return [_parked.decode(body).key]
        except msgspec.ValidationError:
            return list(self._in(_notes.decode(body).stretch))

    def _in(self, stretch: _Stretch) -> Iterator[Key]:
        iterator = self._streams.get_shard_iterator(
            StreamArn=stretch.stream_arn,
            ShardId=stretch.shard_id,
            ShardIteratorType="AT_SEQUENCE_NUMBER",
            SequenceNumber=stretch.start_sequence_number,
        )["ShardIterator"]
        last = int(stretch.end_sequence_number)
        for _ in range(_MOST_PAGES):
            page = self._streams.get_records(ShardIterator=iterator)
            for record in page["Records"]:
                number = int(record["dynamodb"]["SequenceNumber"])
                if number <= last and record["eventName"] == "INSERT":
                    yield msgspec.convert(record["dynamodb"]["Keys"], Key)
                if number >= last:
                    return
            iterator = page.get("NextShardIterator")
            if not iterator:
                break
        message = f"the stream does not come to {stretch.end_sequence_number}"
        raise Unpublishable(message)
