"""The conditions of parcels in transit: when each begins and ends, however the readings arrive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.domain.events import Alert, ConditionChange, Position, Resolution, StockLine, TemperatureRange
from shipping.domain.carrier_events import TrackingReading
from shipping.domain.parcel_watch import (
    Followed,
    Goods,
    Limits,
    Watch,
    check_due,
    check_silence,
    follow,
    parse_flags,
)
from shipping.domain.tracking import Track

START = datetime(2026, 1, 16, 9, tzinfo=UTC)
LEEDS, YORK = Position(53.7997, -1.5492), Position(53.96, -1.08)
BRIE, MUG = StockLine("CHEESE-BRIE", 2), StockLine("MUG-BLUE", 1)
CHILLED = TemperatureRange(20, 80)
WATCH = Watch(START, goods=(Goods(BRIE, CHILLED), Goods(MUG)))
LIMITS = Limits(spoiled_minutes=60, recovered_minutes=15, not_moving_minutes=600, silent_minutes=120)
OUT, SPOILED, STUCK, SILENT = "temperature_out_of_range", "goods_spoiled", "not_moving", "silent"


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def reading(at: float, temperature: int = 50, position: Position = LEEDS) -> TrackingReading:
    return TrackingReading(
        message_id=f"msg_{at}",
        shipment_id="ord_1:shipment",
        at=minute(at),
        parcel_id="parcel_1",
        position=position,
        temperature=temperature,
    )


def followed(*batches: Sequence[TrackingReading], watch: Watch = WATCH, limits: Limits = LIMITS) -> tuple[Followed, list[ConditionChange]]:
    """Return the parcel after batches, each received a minute after its latest reading, and all changes."""
    parcel, changes = Followed(None, watch), list[ConditionChange]()
    for batch in batches:
        now = max((one.at for one in batch), default=START) + timedelta(minutes=1)
        parcel = follow(parcel.track, parcel.watch, batch, limits, now)
        changes += parcel.changes
    return Followed(parcel.track, parcel.watch), changes


def names(changes: Sequence[ConditionChange]) -> list[str]:
    return [f"{'+' if isinstance(change, Alert) else '-'}{change.cause}" for change in changes]


def changes_of(*readings: TrackingReading) -> list[str]:
    return names(followed(readings)[1])


def test_readings_within_the_range_change_nothing() -> None:
    assert changes_of(reading(0, 20), reading(10, 80)) == []


def test_reading_outside_the_range_alerts_once() -> None:
    _, [alert] = followed([reading(0), reading(10, 81), reading(20, 95), reading(30, 19)])
    assert alert == Alert(cause=OUT, since=minute(10), lines=(BRIE,), temperature=81, temperature_range=CHILLED, position=LEEDS)


def test_goods_without_a_range_endure_every_temperature() -> None:
    assert names(followed([reading(0, 900)], watch=Watch(START, goods=(Goods(MUG),)))[1]) == []


def test_alert_is_resolved_after_recovery_and_can_come_again() -> None:
    _, changes = followed([reading(0, 90), reading(5, 50), reading(19, 50), reading(20, 50), reading(30, 90)])
    assert names(changes) == [f"+{OUT}", f"-{OUT}", f"+{OUT}"]
    assert changes[1] == Resolution(cause=OUT, until=minute(5))


def test_short_recovery_continues_the_excursion() -> None:
    assert changes_of(*(reading(at, 90 if at % 10 else 50) for at in range(0, 70, 5))) == [f"+{OUT}", f"+{SPOILED}"]


def test_goods_spoil_after_an_hour_outside_their_range() -> None:
    assert changes_of(reading(0, 90), reading(59, 90)) == [f"+{OUT}"]
    _, [_, spoiled] = followed([reading(0, 90), reading(60, 85)])
    assert spoiled == Alert(cause=SPOILED, since=START, lines=(BRIE,), temperature=85, temperature_range=CHILLED, position=LEEDS)


def test_only_goods_that_do_not_endure_the_excursion_spoil() -> None:
    wine = StockLine("WINE", 1)
    watch = Watch(START, goods=(Goods(BRIE, CHILLED), Goods(wine, TemperatureRange(50, 200))))
    _, changes = followed([reading(0, 90), reading(70, 90)], watch=watch)
    assert [change.lines for change in changes if isinstance(change, Alert)] == [(BRIE,), (BRIE,)]


def test_spoiled_goods_stay_spoiled() -> None:
    excursion = [reading(0, 90), reading(61, 90), reading(70, 50), reading(90, 50)]
    parcel, changes = followed(excursion, [reading(100, 90), reading(170, 90)])
    assert names(changes) == [f"+{OUT}", f"+{SPOILED}", f"-{OUT}", f"+{OUT}"]
    assert parcel.watch.conditions == (SPOILED, OUT)


def test_parcel_that_stays_within_500_meters_is_not_moving() -> None:
    nearby = Position(53.8037, -1.5492)
    _, changes = followed([reading(0), reading(300, position=nearby), reading(600)], [reading(700), reading(710, position=YORK)])
    assert changes[0] == Alert(cause=STUCK, since=START, lines=(BRIE, MUG), temperature=50, temperature_range=CHILLED, position=LEEDS)
    assert names(changes) == [f"+{STUCK}", f"-{STUCK}"]


def test_silence_alerts_once_and_the_next_reading_resolves_it() -> None:
    parcel, _ = followed([reading(0)])
    assert check_silence(parcel.track, parcel.watch, LIMITS, minute(119)).changes == ()
    silent = check_silence(parcel.track, parcel.watch, LIMITS, minute(120))
    assert names(silent.changes) == [f"+{SILENT}"]
    assert check_silence(silent.track, silent.watch, LIMITS, minute(900)).changes == ()
    heard = follow(silent.track, silent.watch, [reading(901, position=YORK)], LIMITS, minute(902))
    assert names(heard.changes) == [f"-{SILENT}"]


def test_old_reading_does_not_end_a_silence() -> None:
    silent = check_silence(followed([reading(0)])[0].track, WATCH, LIMITS, minute(500))
    assert follow(silent.track, silent.watch, [reading(5)], LIMITS, minute(501)).changes == ()


def test_parcel_that_never_reports_is_silent_since_its_watch_began() -> None:
    [alert] = check_silence(None, WATCH, LIMITS, minute(120)).changes
    assert alert == Alert(cause=SILENT, since=START, lines=(BRIE, MUG), temperature_range=CHILLED)


def test_ended_watch_changes_nothing() -> None:
    parcel, changes = followed([reading(0, 500), reading(5000, 500)], watch=WATCH.end())
    assert (changes, check_silence(parcel.track, parcel.watch, LIMITS, minute(9999)).changes) == ([], ())
    assert parcel.track
    assert parcel.track.readings == 2


def test_late_reading_outside_the_range_alerts_if_it_is_the_first() -> None:
    parcel, changes = followed([reading(10)], [reading(5, 90)], [reading(6, 95), reading(20), reading(30)])
    assert names(changes) == [f"+{OUT}", f"-{OUT}"]
    assert parcel.watch.excursion is None


def test_check_is_planned_again_only_after_a_tenth_of_the_silence() -> None:
    parcel, _ = followed([reading(0)])
    first = check_due(parcel.track, parcel.watch, LIMITS, None)
    assert first == minute(132)
    assert check_due(followed([reading(12)])[0].track, WATCH, LIMITS, first) == first
    assert check_due(followed([reading(13)])[0].track, WATCH, LIMITS, first) == minute(145)
    assert check_due(parcel.track, WATCH.end(), LIMITS, first) is None
    assert check_due(parcel.track, msgspec.structs.replace(WATCH, conditions=(SILENT,)), LIMITS, first) is None


READINGS = st.lists(
    st.builds(reading, st.integers(0, 1500), st.sampled_from([10, 50, 90]), st.sampled_from([LEEDS, YORK])),
    max_size=30,
    unique_by=lambda one: one.at,
)


@given(READINGS, st.data())
def test_order_and_duplicates_within_a_batch_do_not_matter(readings: list[TrackingReading], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(readings))) if readings else []
    shuffled = data.draw(st.permutations([*readings, *again]))
    assert followed(shuffled) == followed(sorted(readings, key=lambda one: one.at))


@given(READINGS, st.integers(1, 10))
def test_batches_of_any_size_and_repeated_batches_make_the_same_changes(readings: list[TrackingReading], size: int) -> None:
    in_order = sorted(readings, key=lambda one: one.at)
    pieces = list(batched(in_order, size, strict=False))
    twice = [piece for number, piece in enumerate(pieces) for piece in (piece, *pieces[: number + 1])]
    assert followed(*twice) == followed(in_order)


@given(READINGS, st.data())
def test_any_order_of_batches_finds_the_same_range_and_each_excursion(readings: list[TrackingReading], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(readings))
    limits = Limits(recovered_minutes=0)
    parcel, changes = followed(*([one] for one in shuffled), limits=limits)
    outside = [one for one in readings if one.temperature not in CHILLED]
    alerts = [change for change in changes if isinstance(change, Alert) and change.cause == OUT]
    assert bool(alerts) == bool(outside)
    if readings and max(readings, key=lambda one: one.at) in outside:
        assert OUT in parcel.watch.conditions


@given(READINGS)
def test_alerts_and_resolutions_of_a_cause_alternate(readings: list[TrackingReading]) -> None:
    parcel, changes = followed(readings)
    for cause in (OUT, SPOILED, STUCK, SILENT):
        of_cause = [isinstance(change, Alert) for change in changes if change.cause == cause]
        assert of_cause == [number % 2 == 0 for number in range(len(of_cause))]
        assert (cause in parcel.watch.conditions) == bool(of_cause and of_cause[-1])


@given(READINGS)
def test_track_sums_up_its_readings(readings: list[TrackingReading]) -> None:
    track = followed(readings)[0].track
    if not readings:
        assert track is None
        return
    assert isinstance(track, Track)
    latest, temperatures = max(readings, key=lambda one: one.at), [one.temperature for one in readings]
    assert (track.at, track.position, track.temperature) == (latest.at, latest.position, latest.temperature)
    assert (track.lowest, track.highest, track.readings) == (min(temperatures), max(temperatures), len(readings))


def test_flags_replace_single_limits() -> None:
    assert parse_flags(b'{"hold_every_order": true}').parcels == Limits()
    assert parse_flags(b'{"parcels": {"silent_minutes": 5}}').parcels == Limits(silent_minutes=5)


@pytest.mark.parametrize("wrong", [{"silent_minutes": 0}, {"silent_minutes": "5"}, {"moved_meters": -1}, {"noise": 1}, []])
def test_invalid_limits_are_refused(wrong: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        parse_flags(msgspec.json.encode({"parcels": wrong}))
