"""What the carrier tells us, as docs/webhooks.md describes it. No AWS here.

Messages come more than once and in any order. Fields that are not known are ignored.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from orderflow.domain.events import StockLine

READING = "in_transit"

type Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
type Moment = Annotated[datetime, Meta(tz=True)]


class EventHeader(Struct, frozen=True):
    """What every message has: an id of its own, and what it is about."""

    message_id: Identifier
    type: Identifier


class CarrierEventBase(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Something happened to a shipment at `at`, in RFC 3339; what happened is recorded also where that is no such time."""

    message_id: Identifier
    shipment_id: Identifier
    at: str

    @property
    def occurred_at(self) -> datetime | None:
        """When it happened by the carrier's clock, with any offset; None for what is no time with an offset."""
        try:
            return msgspec.convert(self.at, Moment)
        except msgspec.ValidationError:
            return None


class Picked(CarrierEventBase, frozen=True, tag="picked"):
    """The shipment was fetched from us and is being packed."""


class Dispatched(CarrierEventBase, frozen=True, kw_only=True, tag="dispatched"):
    """A parcel with these lines left."""

    parcel_id: Identifier
    lines: Annotated[tuple[StockLine, ...], Meta(min_length=1, max_length=50)]


class Position(Struct, frozen=True):
    """Where on the earth, in degrees."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]


class TrackingReading(Struct, frozen=True, kw_only=True, tag_field="type", tag=READING):
    """A reading of a parcel on its way; the temperature is in tenths of a degree Celsius."""

    message_id: Identifier
    shipment_id: Identifier
    at: Moment
    parcel_id: Identifier
    position: Position
    temperature: Annotated[int, Meta(ge=-1000, le=1000)]


class Delivered(CarrierEventBase, frozen=True, kw_only=True, tag="delivered"):
    """A parcel arrived."""

    parcel_id: Identifier


class Lost(CarrierEventBase, frozen=True, kw_only=True, tag="lost"):
    """A parcel will not arrive."""

    parcel_id: Identifier


class Returned(CarrierEventBase, frozen=True, kw_only=True, tag="returned"):
    """What a customer sends back under an announced return arrived."""

    return_id: Identifier


type CarrierEvent = Picked | Dispatched | Delivered | Lost | Returned

header_decoder: msgspec.json.Decoder[EventHeader] = msgspec.json.Decoder(EventHeader)
carrier_event_decoder: msgspec.json.Decoder[CarrierEvent] = msgspec.json.Decoder(Picked | Dispatched | Delivered | Lost | Returned)
reading_decoder: msgspec.json.Decoder[TrackingReading] = msgspec.json.Decoder(TrackingReading)
