"""Publishes events again that the publisher failed to publish: dead letters hold the keys, the order log the events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from operations import key_ranges
from operations.key_ranges import KeyRange
from orderflow.aws import dynamodb
from orderflow.aws.event_bus import TooLarge
from orderflow.aws.order_log_items import is_append
from orderflow.domain.events import UnknownEvent

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.aws.publisher import Publisher


class CannotPublish(RuntimeError):
    """The events of a message are not in the log or stream, or no publisher can publish them."""


class _Text(Struct, frozen=True):
    value: str = field(name="S")


class _Number(Struct, frozen=True):
    value: Annotated[str, Meta(pattern="^[0-9]+$")] = field(name="N")


class Key(Struct, frozen=True):
    """The key of an event in the order log."""

    order_id: _Text
    version: _Number


class _ParkedEvent(Struct, frozen=True):
    key: Key


class _FailedBatch(Struct, frozen=True):
    key_range: KeyRange = field(name="DDBStreamBatchInfo")


_parked_events = msgspec.json.Decoder(_ParkedEvent)
_failed_batches = msgspec.json.Decoder(_FailedBatch)


class EventReader:
    """Reads single events from the order log."""

    def __init__(self, table: str, dynamodb: DynamoDBClient) -> None:
        """Read the DynamoDB table named `table`."""
        self._table = table
        self._dynamodb = dynamodb

    def document(self, order_id: str, version: int) -> str:
        """Return the JSON document of an event.

        Raises:
            CannotPublish: the event is not in the log.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the log cannot be read.
        """
        found = dynamodb.read_item(self._dynamodb, self._table, dynamodb.key(order_id=order_id, version=version)) or {}
        if "event" not in found:
            message = f"{order_id}:{version} is not in the log"
            raise CannotPublish(message)
        return found["event"]


class Republisher:
    """Publishes events of the order log again."""

    def __init__(self, events: EventReader, publisher: Publisher) -> None:
        """Read `events` and publish them with `publisher`."""
        self._events = events
        self._publisher = publisher

    def publish(self, keys: Iterable[tuple[str, int]]) -> None:
        """Publish the events with these keys (order id, version).

        Raises:
            CannotPublish: an event is not in the log, or is malformed or too large.
            NotPublished: bus or stream refused some of them.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the log cannot be read.
        """
        try:
            self._publisher.publish([self._publisher.outbound_event(self._events.document(*key)) for key in keys])
        except (UnknownEvent, TooLarge, msgspec.DecodeError) as error:
            message = f"{type(error).__name__}: {error}"
            raise CannotPublish(message) from None


class FailedPublications:
    """Publishes the events that the publisher's dead letters name."""

    def __init__(self, republisher: Republisher, streams: Any) -> None:
        """Read the log's stream with the client `streams`."""
        self._republisher = republisher
        self._streams = streams

    def publish(self, body: str) -> None:
        """Publish the events that a dead letter names. Raises what `Republisher.publish` raises, and:

        Raises:
            msgspec.DecodeError: the message is not a dead letter of the publisher.
            CannotPublish: the stream no longer holds the records.
        """
        self._republisher.publish([(key.order_id.value, int(key.version.value)) for key in self._keys(body)])

    def _keys(self, body: str) -> list[Key]:
        try:
            return [_parked_events.decode(body).key]
        except msgspec.ValidationError:
            return list(self._keys_in(_failed_batches.decode(body).key_range))

    def _keys_in(self, key_range: KeyRange) -> Iterator[Key]:
        try:
            for record in key_ranges.table_records(key_range, self._streams):
                if is_append(record):
                    yield msgspec.convert(record["dynamodb"]["Keys"], Key)
        except key_ranges.RecordsExpired as expired:
            raise CannotPublish(str(expired)) from None
