"""The watch over a parcel in transit: which conditions its readings, and their absence, begin and end. Pure rules, without AWS.

| cause | begins | ends |
|---|---|---|
| `temperature_out_of_range` | with a reading outside the goods' range | after `recovered_minutes` within it |
| `goods_spoiled` | after `spoiled_minutes` outside the range, without a recovery | never |
| `not_moving` | after `not_moving_minutes` of readings within `moved_meters` | with a reading from farther away |
| `silent` | `silent_minutes` after the latest reading | with a reading younger than that |

Readings are followed in the order of their times, however they are batched, and repeated ones change nothing. A reading older than the
latest one is late, and counts only if no temperature outside the range was known before, so that an excursion is never missed.
"""

from __future__ import annotations

from datetime import timedelta
from math import asin, cos, radians, sin, sqrt
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from orderflow.domain.events import Alert, ConditionChange, Moment, ParcelCause, Position, Resolution, StockLine, TemperatureRange
from shipping.domain.tracking import Track, add_reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from orderflow.domain.order import Order, Parcel
    from shipping.domain.carrier_events import TrackingReading

EARTH_RADIUS_METERS = 6_371_000
# The share of the silence after which the time of the next check is written again; each writing costs two more writes in the index.
CHECK_SLACK = 0.1

type Limit = Annotated[int, Meta(ge=1, le=100_000)]


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """The feature flags `parcels`: the limits beyond which a parcel needs attention."""

    spoiled_minutes: Limit = 60
    recovered_minutes: Limit = 15
    not_moving_minutes: Limit = 2880
    moved_meters: Limit = 500
    silent_minutes: Limit = 720

    @property
    def silence(self) -> timedelta:
        """How long a parcel may be silent."""
        return timedelta(minutes=self.silent_minutes)


class ShippingFlags(Struct, frozen=True):
    """The feature flags of the shipping context."""

    parcels: Limits = Limits()


class Goods(Struct, frozen=True):
    """A line of the parcel; `endures` are the temperatures that it endures, None for any."""

    line: StockLine
    endures: TemperatureRange | None = None


class Excursion(Struct, frozen=True, omit_defaults=True):
    """A time outside the range: since when, its lowest and highest temperature, and since when the parcel is back within the range."""

    since: Moment
    lowest: int
    highest: int
    back_since: Moment | None = None


class Watch(Struct, frozen=True, omit_defaults=True):
    """The watched state of a parcel: its goods, its alerted conditions, its excursion, and where and when it last moved.

    `since` is the start of the watch, `was_outside` stays true after an excursion. `ended` is the watch over a parcel that is not in
    transit or not of this pipeline.
    """

    since: Moment
    goods: tuple[Goods, ...] = ()
    conditions: tuple[ParcelCause, ...] = ()
    was_outside: bool = False
    excursion: Excursion | None = None
    place: Position | None = None
    moved_at: Moment | None = None
    ended: bool = False

    def end(self) -> Watch:
        """Return the ended watch."""
        return Watch(self.since, ended=True)

    def affected(self, *temperatures: int) -> tuple[Goods, ...]:
        """Return the goods that do not endure one of these temperatures."""
        return tuple(one for one in self.goods if one.endures and any(found not in one.endures for found in temperatures))


class Followed(Struct, frozen=True):
    """A parcel's track and watch after its readings, and the changes of its conditions in the order in which they came about."""

    track: Track | None
    watch: Watch
    changes: tuple[ConditionChange, ...] = ()

    def watching(self, **changes: Any) -> Followed:
        """Return the parcel with these changes of its watch."""
        return replace(self, watch=replace(self.watch, **changes))

    def alerted(self, cause: ParcelCause, since: datetime, at: TrackingReading | Track | None, goods: Sequence[Goods]) -> Followed:
        """Return the parcel with an alert, unless the cause was alerted and not resolved."""
        if cause in self.watch.conditions:
            return self
        alert = Alert(
            cause=cause,
            since=since,
            lines=tuple(one.line for one in goods),
            temperature=at.temperature if at else None,
            temperature_range=_narrowest(goods),
            position=at.position if at else None,
        )
        return replace(self.watching(conditions=(*self.watch.conditions, cause)), changes=(*self.changes, alert))

    def resolved(self, cause: ParcelCause, until: datetime) -> Followed:
        """Return the parcel without a condition, if it has it."""
        if cause not in self.watch.conditions:
            return self
        others = tuple(one for one in self.watch.conditions if one != cause)
        return replace(self.watching(conditions=others), changes=(*self.changes, Resolution(cause=cause, until=until)))


def parse_flags(document: bytes) -> ShippingFlags:
    """Read the flags from JSON; a limit that they leave out has its default.

    Raises:
        msgspec.DecodeError: it is not JSON, or a flag has an invalid value.
    """
    return msgspec.json.decode(document, type=ShippingFlags)


def has_range(order: Order, lines: Iterable[StockLine]) -> bool:
    """Return whether one of these products of the order endures only a range of temperatures."""
    return any(_ranges(order)[line.sku] for line in lines)


def watch_of(order: Order, parcel: Parcel, now: datetime) -> Watch:
    """Return the watch over a parcel from `now` (UTC) on, with the conditions that its order knows."""
    if parcel.state != "dispatched":
        return Watch(now, ended=True)
    ranges = _ranges(order)
    return Watch(
        now,
        goods=tuple(Goods(line, ranges[line.sku]) for line in parcel.lines),
        conditions=tuple(one.cause for one in parcel.conditions),
        was_outside=parcel.alerts > 0,
    )


def follow(track: Track | None, watch: Watch, readings: Iterable[TrackingReading], limits: Limits, now: datetime) -> Followed:
    """Return the parcel after readings that were received at `now` (UTC), in any order."""
    parcel = Followed(track, watch)
    for reading in sorted(readings, key=lambda reading: reading.at):
        if parcel.track and reading.at <= parcel.track.at:
            parcel = _with_late_reading(parcel, reading, parcel.track.at)
        else:
            parcel = replace(_with_reading(parcel, reading, limits, now), track=add_reading(parcel.track, reading))
    return parcel


def check_silence(track: Track | None, watch: Watch, limits: Limits, now: datetime) -> Followed:
    """Return the parcel at `now` (UTC), with an alert if its latest reading is too old."""
    parcel, heard_at = Followed(track, watch), _heard_at(track, watch)
    if watch.ended or now - heard_at < limits.silence:
        return parcel
    return parcel.alerted("silent", heard_at, track, watch.goods)


def check_due(track: Track | None, watch: Watch, limits: Limits, planned: datetime | None) -> datetime | None:
    """Return when (UTC) the parcel's silence has to be checked, None for a parcel without a watch or known to be silent.

    A check that is `planned` late enough stays: it is at most `CHECK_SLACK` of the silence later than necessary, and mostly not written.
    """
    if watch.ended or "silent" in watch.conditions:
        return None
    earliest = _heard_at(track, watch) + limits.silence
    if planned and earliest <= planned <= earliest + limits.silence * CHECK_SLACK:
        return planned
    return earliest + limits.silence * CHECK_SLACK


def _ranges(order: Order) -> dict[str, TemperatureRange | None]:
    return {line.sku: line.temperature_range for line in order.lines}


def _heard_at(track: Track | None, watch: Watch) -> datetime:
    return track.at if track else watch.since


def _with_reading(parcel: Followed, reading: TrackingReading, limits: Limits, now: datetime) -> Followed:
    if parcel.watch.ended:
        return parcel
    if now - reading.at < limits.silence:
        parcel = parcel.resolved("silent", reading.at)
    return _with_position(_with_temperature(parcel, reading, limits), reading, limits)


def _with_late_reading(parcel: Followed, reading: TrackingReading, latest: datetime) -> Followed:
    affected = parcel.watch.affected(reading.temperature)
    if not affected or parcel.watch.was_outside:
        return parcel
    excursion = Excursion(reading.at, reading.temperature, reading.temperature, back_since=latest)
    return parcel.watching(excursion=excursion, was_outside=True).alerted("temperature_out_of_range", reading.at, reading, affected)


def _with_temperature(parcel: Followed, reading: TrackingReading, limits: Limits) -> Followed:
    affected, found = parcel.watch.affected(reading.temperature), parcel.watch.excursion
    if not affected:
        return _back_in_range(parcel, reading, limits)
    excursion = Excursion(
        since=found.since if found else reading.at,
        lowest=min(found.lowest, reading.temperature) if found else reading.temperature,
        highest=max(found.highest, reading.temperature) if found else reading.temperature,
    )
    parcel = parcel.watching(excursion=excursion, was_outside=True)
    parcel = parcel.alerted("temperature_out_of_range", excursion.since, reading, affected)
    if reading.at - excursion.since < timedelta(minutes=limits.spoiled_minutes):
        return parcel
    spoiled = parcel.watch.affected(excursion.lowest, excursion.highest)
    return parcel.alerted("goods_spoiled", excursion.since, reading, spoiled)


def _back_in_range(parcel: Followed, reading: TrackingReading, limits: Limits) -> Followed:
    if parcel.watch.excursion is None and "temperature_out_of_range" not in parcel.watch.conditions:
        return parcel
    excursion = parcel.watch.excursion or Excursion(reading.at, reading.temperature, reading.temperature)
    back_since = excursion.back_since or reading.at
    if reading.at - back_since < timedelta(minutes=limits.recovered_minutes):
        return parcel.watching(excursion=replace(excursion, back_since=back_since))
    return parcel.watching(excursion=None).resolved("temperature_out_of_range", back_since)


def _with_position(parcel: Followed, reading: TrackingReading, limits: Limits) -> Followed:
    watch = parcel.watch
    if watch.place is None or watch.moved_at is None or _meters(watch.place, reading.position) > limits.moved_meters:
        return parcel.watching(place=reading.position, moved_at=reading.at).resolved("not_moving", reading.at)
    if reading.at - watch.moved_at < timedelta(minutes=limits.not_moving_minutes):
        return parcel
    return parcel.alerted("not_moving", watch.moved_at, reading, watch.goods)


def _narrowest(goods: Iterable[Goods]) -> TemperatureRange | None:
    ranges = [one.endures for one in goods if one.endures]
    return min(ranges, key=lambda one: one.highest - one.lowest, default=None)


def _meters(one: Position, other: Position) -> float:
    """Return the distance of two positions on a sphere, by the haversine formula."""
    south, north = radians(one.lat), radians(other.lat)
    half_chord = sin((north - south) / 2) ** 2 + cos(south) * cos(north) * sin(radians(other.lon - one.lon) / 2) ** 2
    return 2 * EARTH_RADIUS_METERS * asin(min(1.0, sqrt(half_chord)))
