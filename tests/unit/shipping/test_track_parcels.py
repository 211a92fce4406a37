"""The consumer `track_parcels`: one item per parcel, and no write to the order log."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipping.domain.carrier_events import Position, TrackingReading
from shipping.domain.tracking import Track, add_readings
from shipping.handlers import track_parcels
from shipping.tracking_store import TrackingStore
from tests.fakes.aws.dynamodb import throttled

EVENTS = Path(__file__).resolve().parents[3] / "events" / "shipping" / "track_parcels"
SAMPLES = sorted(path.stem for path in EVENTS.glob("*.json") if not path.stem.endswith(".answer"))
START = datetime(2026, 1, 16, 9, tzinfo=UTC)
SENT = str(int((START + timedelta(hours=1)).timestamp() * 1000))
SHIPMENT = "ord_1:shipment"


def reading(minute: int, temperature: int = 40, parcel: str = "parcel_1") -> TrackingReading:
    return TrackingReading(
        message_id=f"msg_{minute}",
        shipment_id=SHIPMENT,
        at=START + timedelta(minutes=minute),
        parcel_id=parcel,
        position=Position(53.8, -1.5),
        temperature=temperature,
    )


def batch(*bodies: str) -> Any:
    sent = {"attributes": {"SentTimestamp": SENT}}
    return {"Records": [sent | {"messageId": f"m{number}", "body": body} for number, body in enumerate(bodies)]}


def body(one: TrackingReading) -> str:
    return json.dumps(
        {
            "message_id": one.message_id,
            "type": "in_transit",
            "shipment_id": one.shipment_id,
            "at": one.at.isoformat(),
            "parcel_id": one.parcel_id,
            "position": {"lat": one.position.lat, "lon": one.position.lon},
            "temperature": one.temperature,
        }
    )


@pytest.fixture
def tracks(aws: Any, monkeypatch: pytest.MonkeyPatch) -> TrackingStore:
    store = TrackingStore("Tracking", aws.dynamodb.client)
    monkeypatch.setattr(track_parcels, "TRACKS", store)
    return store


@pytest.fixture
def deliver(tracks: TrackingStore, context: Any) -> Callable[..., list[str]]:
    return lambda *bodies: [str(one["itemIdentifier"]) for one in track_parcels.handler(batch(*bodies), context)["batchItemFailures"]]


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59.999999-12:00", "0001-01-01T00:00:00+14:00", "2026-01-17T09:00:00Z"])
def test_implausible_time_blocks_no_later_reading(deliver: Callable[..., list[str]], tracks: TrackingStore, context: Any, at: str) -> None:
    wrong, later = json.loads(body(reading(1, 10))) | {"at": at}, json.loads(body(reading(2, 20)))
    assert deliver(json.dumps(wrong)) == []
    track_of = tracks.load(SHIPMENT, "parcel_1")
    assert track_of
    assert track_of.at == START + timedelta(hours=1)
    later_on = batch(json.dumps(later | {"at": (START + timedelta(minutes=61)).isoformat()}))
    later_on["Records"][0]["attributes"] = {"SentTimestamp": str(int(SENT) + 3_600_000)}
    assert track_parcels.handler(later_on, context) == {"batchItemFailures": []}
    latest = tracks.load(SHIPMENT, "parcel_1")
    assert latest
    assert (latest.temperature, latest.readings) == (20, 2)


READINGS = st.lists(st.builds(reading, st.integers(0, 30), st.integers(-1000, 1000)), max_size=20, unique_by=lambda one: one.at)


@given(READINGS)
def test_track_sums_up_its_readings(readings: list[TrackingReading]) -> None:
    result = add_readings(None, readings)
    if not readings:
        assert result is None
        return
    assert result
    latest = max(readings, key=lambda one: one.at)
    temperatures = [one.temperature for one in readings]
    assert (result.at, result.temperature) == (latest.at, latest.temperature)
    assert (result.lowest, result.highest, result.readings) == (min(temperatures), max(temperatures), len(readings))


@given(READINGS, st.data())
def test_repeated_readings_change_nothing(readings: list[TrackingReading], data: st.DataObject) -> None:
    once = add_readings(None, readings)
    again = data.draw(st.lists(st.sampled_from(readings))) if readings else []
    assert add_readings(once, again) == once
    assert add_readings(None, [*readings, *again]) == once


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_has_its_answer(sample: str, tracks: TrackingStore, context: Any) -> None:
    answer = track_parcels.handler(json.loads((EVENTS / f"{sample}.json").read_text()), context)
    assert answer == json.loads((EVENTS / f"{sample}.answer.json").read_text())


def test_batch_makes_one_write_per_parcel(deliver: Callable[..., list[str]], tracks: TrackingStore, aws: Any) -> None:
    bodies = [body(reading(minute, 40 + minute, parcel)) for minute in range(20) for parcel in ("parcel_1", "parcel_2")]

    assert deliver(*bodies) == []
    assert aws.dynamodb.calls == {"GetItem": 2, "PutItem": 2}
    known = tracks.load(SHIPMENT, "parcel_2")
    assert known
    assert (known.lowest, known.highest, known.readings) == (40, 59, 20)
    assert aws.dynamodb.items("OrderLog") == []


def test_repeated_batch_writes_nothing(deliver: Callable[..., list[str]], aws: Any) -> None:
    deliver(body(reading(1)), body(reading(2)))
    aws.dynamodb.calls.clear()

    assert deliver(body(reading(2)), body(reading(1))) == []
    assert aws.dynamodb.calls == {"GetItem": 1}


def test_poison_reading_fails_alone(deliver: Callable[..., list[str]], tracks: TrackingStore) -> None:
    assert deliver("no json", body(reading(1)), json.dumps({"type": "picked"}), '{"a": ' * 100_000) == ["m0", "m2", "m3"]
    assert tracks.load(SHIPMENT, "parcel_1")


def test_readings_of_an_unwritable_track_fail(deliver: Callable[..., list[str]], aws: Any) -> None:
    def refuse(operation: str, parameters: Any) -> None:
        if parameters.get("Item", {}).get("parcel_id") == {"S": "parcel_1"}:
            raise throttled(operation)

    aws.dynamodb.before = refuse
    assert deliver(body(reading(1)), body(reading(1, parcel="parcel_2")), body(reading(2))) == ["m0", "m2"]


def test_concurrent_batches_are_both_counted(tracks: TrackingStore, aws: Any) -> None:
    def concurrent_writer(operation: str, _parameters: Any) -> None:
        if operation == "PutItem":
            aws.dynamodb.before = None
            tracks.add(SHIPMENT, "parcel_1", [reading(1, 10)])

    aws.dynamodb.before = concurrent_writer
    tracks.add(SHIPMENT, "parcel_1", [reading(2, 50)])

    known = tracks.load(SHIPMENT, "parcel_1")
    assert isinstance(known, Track)
    assert (known.lowest, known.highest, known.readings) == (10, 50, 2)


def test_track_expires_after_90_days(tracks: TrackingStore, aws: Any) -> None:
    tracks.add(SHIPMENT, "parcel_1", [reading(0)])
    [item] = aws.dynamodb.items("Tracking")
    assert int(item["expires_at"]["N"]) == int((START + timedelta(days=90)).timestamp())
