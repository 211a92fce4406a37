"""The carrier's webhook events, as docs/webhooks.md describes them.

Events are delivered at least once and in any order. Unknown fields are ignored.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from orderflow.domain.events import Position, StockLine, Temperature

READING = "in_transit"

type Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
type Moment = Annotated[datetime, Meta(tz=True)]


class EventHeader(Struct, frozen=True):
    """The fields of every event: its id and its type."""

    message_id: Identifier
    type: Identifier


class CarrierEventBase(Struct, frozen=True, kw_only=True, tag_field="type"):
    """An event of a shipment. `at` is an RFC 3339 time; an event with an unreadable time is recorded too."""

    message_id: Identifier
    shipment_id: Identifier
    at: str

    @property
    def occurred_at(self) -> datetime | None:
        """The time of the event by the carrier's clock, or None if `at` is not a time with an offset."""
        try:
            return msgspec.convert(self.at, Moment)
        except msgspec.ValidationError:
            return None


class Picked(CarrierEventBase, frozen=True, tag="picked"):
    """The carrier fetched the shipment and packs it."""


class Dispatched(CarrierEventBase, frozen=True, kw_only=True, tag="dispatched"):
    """A parcel with these lines was dispatched."""

    parcel_id: Identifier
    lines: Annotated[tuple[StockLine, ...], Meta(min_length=1, max_length=50)]


class TrackingReading(Struct, frozen=True, kw_only=True, tag_field="type", tag=READING):
    """A tracking reading of a parcel in transit; the temperature is in tenths of a degree Celsius."""

    message_id: Identifier
    shipment_id: Identifier
    at: Moment
    parcel_id: Identifier
    position: Position
    temperature: Temperature


class Delivered(CarrierEventBase, frozen=True, kw_only=True, tag="delivered"):
    """A parcel was delivered."""

    parcel_id: Identifier


class Lost(CarrierEventBase, frozen=True, kw_only=True, tag="lost"):
    """A parcel was lost."""

    parcel_id: Identifier


class Returned(CarrierEventBase, frozen=True, kw_only=True, tag="returned"):
    """The lines of a return were received."""

    return_id: Identifier


type CarrierEvent = Picked | Dispatched | Delivered | Lost | Returned

header_decoder: msgspec.json.Decoder[EventHeader] = msgspec.json.Decoder(EventHeader)
carrier_event_decoder: msgspec.json.Decoder[CarrierEvent] = msgspec.json.Decoder(Picked | Dispatched | Delivered | Lost | Returned)
# The messages of the queue of readings.
tracked_decoder: msgspec.json.Decoder[TrackingReading | Dispatched] = msgspec.json.Decoder(TrackingReading | Dispatched)
