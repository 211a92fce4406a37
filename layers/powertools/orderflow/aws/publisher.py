"""Where the events of the order log go: all of them to the stream, and to the bus those that somebody there acts upon.

An event on the bus costs as much as seventy on the stream, so what is only a step on the way stays off the bus
(`stream_only`), until somebody wants to route it.
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

    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef


# Events that go to the event stream only: on the bus each costs seventy times as much, and no rule takes them. A rule that is to take
# one of them needs it off this list.
STREAM_ONLY_EVENTS = frozenset({"StockReserved", "OrderScreened", "ShipmentRequested", "InvoiceIssued"})


class OutboundEvent(NamedTuple):
    """An event's JSON document, and what the bus is given for it, if it goes there."""

    order_id: str
    document: str
    entry: PutEventsRequestEntryTypeDef | None


class Publisher:
    """The bus and the stream."""

    def __init__(self, bus: EventBus, stream: EventStream, stream_only: Collection[str]) -> None:
        """Publish on both; events of the types `stream_only` on the stream alone."""
        self._bus = bus
        self._stream = stream
        self._stream_only = stream_only

    def outbound_event(self, document: str) -> OutboundEvent:
        """Return an event's JSON document as something that can be published.

        Raises:
            msgspec.DecodeError, UnknownEvent, TooLarge: it never can.
        """
        event = events.decode(document)
        entry = self._bus.entry(event, document)
        return OutboundEvent(event.order_id, document, None if event.type in self._stream_only else entry)

    def publish(self, letters: Sequence[OutboundEvent]) -> None:
        """Publish any number of events, in their order.

        Raises:
            NotPublished: bus or stream refused some of them; others are published.
        """
        self._bus.put([letter.entry for letter in letters if letter.entry])
        self._stream.put((letter.order_id, letter.document) for letter in letters)


def from_environment() -> Publisher:
    """Return the outlets that the function's environment names: EVENT_BUS and EVENT_STREAM."""
    return Publisher(
        EventBus(settings.required("EVENT_BUS"), client("events")),
        EventStream(settings.required("EVENT_STREAM"), client("kinesis")),
        STREAM_ONLY_EVENTS,
    )
