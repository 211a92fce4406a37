"""Publishes events of the order log: all of them to the event stream, those that rules match also to the event bus.

Events without a consumer on the bus stay off it (`orderflow.domain.registry`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.event_bus import EventBus
from orderflow.aws.event_stream import EventStream
from orderflow.domain import events

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef


class OutboundEvent(NamedTuple):
    """An event's JSON document, its entry for the bus, if it goes there, and when (UTC) it was appended."""

    order_id: str
    document: str
    entry: PutEventsRequestEntryTypeDef | None
    appended_at: datetime


class Publisher:
    """Publishes to bus and stream."""

    def __init__(self, bus: EventBus, stream: EventStream, stream_only: Collection[str]) -> None:
        """Publish on both; events of the types `stream_only` on the stream alone."""
        self._bus = bus
        self._stream = stream
        self._stream_only = stream_only

    def outbound_event(self, document: str) -> OutboundEvent:
        """Return the outbound event of an event's JSON document.

        Raises:
            msgspec.DecodeError, UnknownEvent, TooLarge: the event can never be published.
        """
        event = events.decode(document)
        entry = self._bus.entry(event, document)
        return OutboundEvent(event.order_id, document, None if event.type in self._stream_only else entry, event.appended_at)

    def publish(self, outbound_events: Sequence[OutboundEvent]) -> None:
        """Publish any number of events, in their order.

        Raises:
            NotPublished: bus or stream refused some of them; others are published.
        """
        self._bus.put([event.entry for event in outbound_events if event.entry])
        self._stream.put((event.order_id, event.document) for event in outbound_events)


def from_environment() -> Publisher:
    """Return the publisher for EVENT_BUS and EVENT_STREAM of the function's environment."""
    return Publisher(
        EventBus(settings.required("EVENT_BUS"), client("events")),
        EventStream(settings.required("EVENT_STREAM"), client("kinesis")),
        events.STREAM_ONLY_EVENTS,
    )
