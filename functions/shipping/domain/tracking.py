"""The track of a parcel, aggregated from its readings."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orderflow.domain.events import Position
from orderflow.domain.reported_time import bounded
from shipping.domain.carrier_events import Moment, TrackingReading

if TYPE_CHECKING:
    from datetime import datetime

RETENTION = timedelta(days=90)


class Track(Struct, frozen=True, kw_only=True):
    """A parcel's latest position and the range of its temperatures, in tenths of a degree Celsius."""

    at: Moment
    position: Position
    temperature: int
    lowest: int
    highest: int
    readings: int


def with_plausible_time(reading: TrackingReading, at: datetime) -> TrackingReading:
    """Return the reading with its own time, or with `at` (UTC), when it was received, if its time is implausible.

    A reading from the future would hide all later ones.
    """
    return replace(reading, at=bounded(reading.at, at - RETENTION, at) or at)


def add_reading(track: Track | None, reading: TrackingReading) -> Track:
    """Return the track with a reading later than its latest one."""
    temperature = reading.temperature
    return Track(
        at=reading.at,
        position=reading.position,
        temperature=temperature,
        lowest=min(track.lowest, temperature) if track else temperature,
        highest=max(track.highest, temperature) if track else temperature,
        readings=track.readings + 1 if track else 1,
    )
