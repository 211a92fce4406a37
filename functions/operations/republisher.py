"""Publishing again what the stream's publisher gave up on: the keys are in its dead letters, the events in the order log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from operations import key_ranges
from operations.key_ranges import KeyRange
from orderflow.aws.event_bus import TooLarge
from orderflow.domain.events import UnknownEvent

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.aws.publisher import Publisher


class CannotPublish(RuntimeError):
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


class _Note(Struct, frozen=True):
    stretch: KeyRange = field(name="DDBStreamBatchInfo")


_parked = msgspec.json.Decoder(_Parked)
_notes = msgspec.json.Decoder(_Note)


class EventReader:
    """The events of the order log, as what has to be published."""

    def __init__(self, table: str, dynamodb: DynamoDBClient) -> None:
        """Read the log's table."""
        self._table = table
        self._dynamodb = dynamodb

    def publish(self, outlets: Publisher, keys: Iterable[tuple[str, int]]) -> None:
        """Publish the events with these keys (order id, version).

        Raises:
            Unpublishable: one is not in the log, or none that can be published.
            NotPublished: bus or stream refused some.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the log cannot be read.
        """
        try:
            outlets.publish([outlets.outbound_event(self._document(*key)) for key in keys])
        except (UnknownEvent, TooLarge, msgspec.DecodeError) as error:
            message = f"{type(error).__name__}: {error}"
            raise CannotPublish(message) from None

    def _document(self, order_id: str, version: int) -> str:
        item = {"order_id": {"S": order_id}, "version": {"N": str(version)}}
        found = self._dynamodb.get_item(TableName=self._table, Key=item, ConsistentRead=True).get("Item", {})
        if "event" not in found:
            message = f"{order_id}:{version} is not in the log"
            raise CannotPublish(message)
        return found["event"]["S"]  # pyright: ignore[reportTypedDictNotRequiredAccess]


class Republisher:
    """What the publisher gave up on."""

    def __init__(self, table: str, outlets: Publisher, *, dynamodb: DynamoDBClient, streams: Any) -> None:
        """Read the events from the log's table, and from its stream which of them a note is about."""
        self._written = EventReader(table, dynamodb)
        self._outlets = outlets
        self._streams = streams

    def publish(self, body: str) -> None:
        """Publish the events that a dead letter of the publisher is about.

        Raises:
            msgspec.DecodeError: it is no such message.
            Unpublishable: the stream does not have them any more, or they are none that can be published.
            NotPublished: bus or stream refused some.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: log or stream cannot be read.
        """
        self._written.publish(self._outlets, [(key.order_id.value, int(key.version.value)) for key in self._keys(body)])

    def _keys(self, body: str) -> list[Key]:
        try:
            return [_parked.decode(body).key]
        except msgspec.ValidationError:
            return list(self._in(_notes.decode(body).stretch))

    def _in(self, stretch: KeyRange) -> Iterator[Key]:
        try:
            for record in key_ranges.table_records(stretch, self._streams):
                if record["eventName"] == "INSERT":
                    yield msgspec.convert(record["dynamodb"]["Keys"], Key)
        except key_ranges.RecordsExpired as gone:
            raise CannotPublish(str(gone)) from None
