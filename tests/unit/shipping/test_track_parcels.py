"""The consumer `track_parcels`: one item per parcel, and an event for each change of its conditions."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orderflow.aws import dynamodb
from orderflow.aws.order_log import OrderLog
from orderflow.domain.commands import RecordDelivery, RecordDispatch
from orderflow.domain.events import Customer, ParcelConditionAlerted, ParcelConditionResolved, Position, StockLine
from shipping.domain.carrier_events import TrackingReading
from shipping.domain.parcel_watch import Limits
from shipping.domain.tracking import Track
from shipping.handlers import check_silent_parcels, track_parcels
from shipping.parcel_tracking import ParcelTracking
from shipping.tracking_store import ParcelKey, TrackingStore
from tests.fakes.aws.dynamodb import Crash, client_error, throttled
from tests.support.prepared import an_order

EVENTS = Path(__file__).resolve().parents[3] / "events" / "shipping" / "track_parcels"
SAMPLES = sorted(path.stem for path in EVENTS.glob("*.json") if not path.stem.endswith(".answer"))
START = datetime(2026, 1, 16, 9, tzinfo=UTC)
SENT = str(int((START + timedelta(hours=1)).timestamp() * 1000))
SHIPMENT = "ord_1:shipment"
KEY = ParcelKey(SHIPMENT, "parcel_1")
BRIE, MUG = StockLine("CHEESE-BRIE", 2), StockLine("MUG-BLUE", 1)


def reading(minute: float, temperature: int = 40, parcel: str = "parcel_1") -> TrackingReading:
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
    tracking = ParcelTracking(OrderLog("OrderLog", aws.dynamodb.client), store, Limits)
    monkeypatch.setattr(track_parcels, "TRACKING", tracking)
    monkeypatch.setattr(check_silent_parcels, "TRACKING", tracking)
    monkeypatch.setattr(check_silent_parcels, "TRACKS", store)
    return store


@pytest.fixture
def log(aws: Any) -> OrderLog:
    """Return the log with an order whose parcel of brie and a mug is in transit."""
    found = OrderLog("OrderLog", aws.dynamodb.client)
    order = an_order(found, "ord_1", lines={"CHEESE-BRIE": 2, "MUG-BLUE": 1}).confirmed().order
    found.record(order, RecordDispatch("parcel_1", (BRIE, MUG)), source="shipping")
    return found


def track_of(tracks: TrackingStore, parcel: str = "parcel_1") -> Track:
    found = tracks.load(ParcelKey(SHIPMENT, parcel)).track
    assert found
    return found


def conditions(log: OrderLog) -> list[tuple[str, str]]:
    """Return the type and cause of the log's events about conditions."""
    data = [event.data for event in log.history("ord_1")]
    found = [one for one in data if isinstance(one, ParcelConditionAlerted | ParcelConditionResolved)]
    return [(type(one).__name__.removeprefix("ParcelCondition"), one.cause) for one in found]


@pytest.fixture
def deliver(tracks: TrackingStore, context: Any) -> Callable[..., list[str]]:
    return lambda *bodies: [str(one["itemIdentifier"]) for one in track_parcels.handler(batch(*bodies), context)["batchItemFailures"]]


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59.999999-12:00", "0001-01-01T00:00:00+14:00", "2026-01-17T09:00:00Z"])
def test_implausible_time_blocks_no_later_reading(deliver: Callable[..., list[str]], tracks: TrackingStore, context: Any, at: str) -> None:
    wrong, later = json.loads(body(reading(1, 10))) | {"at": at}, json.loads(body(reading(2, 20)))
    assert deliver(json.dumps(wrong)) == []
    assert track_of(tracks).at == START + timedelta(hours=1)
    later_on = batch(json.dumps(later | {"at": (START + timedelta(minutes=61)).isoformat()}))
    later_on["Records"][0]["attributes"] = {"SentTimestamp": str(int(SENT) + 3_600_000)}
    assert track_parcels.handler(later_on, context) == {"batchItemFailures": []}
    latest = track_of(tracks)
    assert (latest.temperature, latest.readings) == (20, 2)


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_has_its_answer(sample: str, tracks: TrackingStore, context: Any) -> None:
    answer = track_parcels.handler(json.loads((EVENTS / f"{sample}.json").read_text()), context)
    assert answer == json.loads((EVENTS / f"{sample}.answer.json").read_text())


def test_batch_makes_one_write_per_parcel(deliver: Callable[..., list[str]], tracks: TrackingStore, aws: Any) -> None:
    bodies = [body(reading(minute, 40 + minute, parcel)) for minute in range(20) for parcel in ("parcel_1", "parcel_2")]

    assert deliver(*bodies) == []
    # A new parcel's order is read once, with a second attempt where it does not exist.
    assert aws.dynamodb.calls == {"GetItem": 2, "Query": 2, "PutItem": 2}
    known = track_of(tracks, "parcel_2")
    assert (known.lowest, known.highest, known.readings) == (40, 59, 20)
    assert aws.dynamodb.items("OrderLog") == []


def test_repeated_batch_writes_nothing(deliver: Callable[..., list[str]], aws: Any) -> None:
    deliver(body(reading(1)), body(reading(2)))
    aws.dynamodb.calls.clear()

    assert deliver(body(reading(2)), body(reading(1))) == []
    assert aws.dynamodb.calls == {"GetItem": 1}


def test_poison_reading_fails_alone(deliver: Callable[..., list[str]], tracks: TrackingStore) -> None:
    assert deliver("no json", body(reading(1)), json.dumps({"type": "picked"}), '{"a": ' * 100_000) == ["m0", "m2", "m3"]
    assert track_of(tracks)


def test_readings_of_an_unwritable_track_fail(deliver: Callable[..., list[str]], aws: Any) -> None:
    def refuse(operation: str, parameters: Any) -> None:
        if parameters.get("Item", {}).get("parcel_id") == {"S": "parcel_1"}:
            raise throttled(operation)

    aws.dynamodb.before = refuse
    assert deliver(body(reading(1)), body(reading(1, parcel="parcel_2")), body(reading(2))) == ["m0", "m2"]


def test_concurrent_batches_are_both_counted(deliver: Callable[..., list[str]], tracks: TrackingStore, aws: Any) -> None:
    def concurrent_writer(operation: str, _parameters: Any) -> None:
        if operation == "PutItem":
            aws.dynamodb.before = None
            deliver(body(reading(1, 10)))

    aws.dynamodb.before = concurrent_writer
    assert deliver(body(reading(2, 50))) == []
    known = track_of(tracks)
    assert (known.lowest, known.highest, known.readings) == (10, 50, 2)


def test_track_held_by_a_transaction_is_written_again(
    deliver: Callable[..., list[str]], tracks: TrackingStore, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamodb.time, "sleep", lambda _: None)
    held = iter([True, True])

    def hold(operation: str, _parameters: Any) -> None:
        if operation == "PutItem" and next(held, False):
            raise client_error(operation, "TransactionConflictException", "Transaction is ongoing for the item")

    aws.dynamodb.before = hold
    assert deliver(body(reading(0))) == []
    assert track_of(tracks).readings == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_crash_at_the_second_write_of_a_held_track_counts_once(
    deliver: Callable[..., list[str]], tracks: TrackingStore, aws: Any, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setattr(dynamodb.time, "sleep", lambda _: None)
    writes = 0

    def before(operation: str, _parameters: Any) -> None:
        nonlocal writes
        writes += operation == "PutItem"
        if operation == "PutItem" and writes == 1:
            raise client_error(operation, "TransactionConflictException", "Transaction is ongoing for the item")
        if operation == "PutItem" and writes == 2 and moment == "before":
            raise Crash

    def after(operation: str, _parameters: Any) -> None:
        if operation == "PutItem" and writes == 2 and moment == "after":
            raise Crash

    aws.dynamodb.before, aws.dynamodb.after = before, after
    with pytest.raises(Crash):
        deliver(body(reading(0)))
    assert deliver(body(reading(0))) == []
    assert deliver(body(reading(0))) == []
    assert track_of(tracks).readings == 1


def test_track_expires_after_90_days(deliver: Callable[..., list[str]], aws: Any) -> None:
    deliver(body(reading(0)))
    [item] = aws.dynamodb.items("Tracking")
    assert int(item["expires_at"]["N"]) == int((START + timedelta(days=90)).timestamp())


def test_warm_reading_alerts_with_all_that_consumers_need(deliver: Callable[..., list[str]], log: OrderLog) -> None:
    assert deliver(body(reading(1)), body(reading(2, 95)), body(reading(3, 99))) == []
    [event] = [one for one in log.history("ord_1") if isinstance(one.data, ParcelConditionAlerted)]
    order = log.load("ord_1")
    assert event.source == "shipping"
    assert event.data == ParcelConditionAlerted(
        Customer(order.customer.id, ""),
        "parcel_1",
        "temperature_out_of_range",
        START + timedelta(minutes=2),
        (BRIE,),
        95,
        order.lines[0].temperature_range,
    )


def test_flood_of_readings_costs_as_much_as_a_single_one(deliver: Callable[..., list[str]], log: OrderLog, aws: Any) -> None:
    deliver(body(reading(0)))

    def cost(count: int, minute: int) -> dict[str, int]:
        aws.dynamodb.calls.clear()
        assert deliver(*(body(reading(minute + number / count)) for number in range(count))) == []
        return dict(aws.dynamodb.calls)

    assert cost(1, 1) == cost(10_000, 2) == {"GetItem": 1, "PutItem": 1}
    aws.dynamodb.calls.clear()
    assert deliver(*(body(reading(3 + number / 10_000, 90 + number % 5)) for number in range(10_000))) == []
    assert aws.dynamodb.calls == {"GetItem": 1, "Query": 1, "TransactWriteItems": 1}
    aws.dynamodb.calls.clear()
    assert deliver(*(body(reading(4 + number / 10_000, 90 - number % 5)) for number in range(10_000))) == []
    assert aws.dynamodb.calls == {"GetItem": 1, "PutItem": 1}
    assert conditions(log) == [("Alerted", "temperature_out_of_range")]


def test_next_check_is_not_written_again_with_every_reading(deliver: Callable[..., list[str]], log: OrderLog, aws: Any) -> None:
    checks: set[str] = set()
    for minute in range(60):
        deliver(body(reading(minute)))
        [item] = aws.dynamodb.items("Tracking")
        checks.add(item["check_at"]["S"])
    assert len(checks) == 1


def test_repeated_batch_alerts_once(deliver: Callable[..., list[str]], log: OrderLog) -> None:
    warm = [body(reading(minute, 90)) for minute in (0, 30, 60)]
    for _ in range(3):
        assert deliver(*warm) == []
    assert conditions(log) == [("Alerted", "temperature_out_of_range"), ("Alerted", "goods_spoiled")]
    assert next(iter(log.load("ord_1").parcels)).spoiled == (BRIE,)


def test_lost_table_of_tracks_repeats_no_alert(deliver: Callable[..., list[str]], log: OrderLog, aws: Any) -> None:
    deliver(body(reading(1, 90)))
    aws.dynamodb.client.delete_item(TableName="Tracking", Key=dynamodb.key(**KEY._asdict()))
    assert deliver(body(reading(2, 90)), body(reading(5)), body(reading(30))) == []
    assert conditions(log) == [("Alerted", "temperature_out_of_range"), ("Resolved", "temperature_out_of_range")]


def test_concurrent_batches_alert_once(deliver: Callable[..., list[str]], log: OrderLog, aws: Any) -> None:
    deliver(body(reading(0)))

    def concurrent_writer(operation: str, _parameters: Any) -> None:
        if operation == "TransactWriteItems":
            aws.dynamodb.before = None
            assert deliver(body(reading(2, 90))) == []

    aws.dynamodb.before = concurrent_writer
    assert deliver(body(reading(1, 90))) == []
    assert conditions(log) == [("Alerted", "temperature_out_of_range")]


def test_delivered_parcel_is_watched_no_more(deliver: Callable[..., list[str]], log: OrderLog, tracks: TrackingStore) -> None:
    deliver(body(reading(0)))
    log.record(log.load("ord_1"), RecordDelivery("parcel_1"), source="shipping")
    assert deliver(body(reading(1, 900))) == []
    stored = tracks.load(KEY)
    assert (conditions(log), stored.check_at) == ([], None)
    assert stored.watch
    assert stored.watch.ended


def test_reading_before_the_dispatch_is_recorded_begins_no_watch(
    deliver: Callable[..., list[str]], tracks: TrackingStore, aws: Any
) -> None:
    log = OrderLog("OrderLog", aws.dynamodb.client)
    order = an_order(log, "ord_1", lines={"CHEESE-BRIE": 2}).confirmed().order
    deliver(body(reading(0)))
    assert tracks.load(KEY).watch is None
    log.record(order, RecordDispatch("parcel_1", (BRIE,)), source="shipping")
    deliver(body(reading(1, 90)))
    assert conditions(log) == [("Alerted", "temperature_out_of_range")]


def test_dispatched_parcel_that_never_reports_is_silent(
    deliver: Callable[..., list[str]], log: OrderLog, tracks: TrackingStore, context: Any
) -> None:
    lines = [{"sku": line.sku, "quantity": line.quantity} for line in (BRIE, MUG)]
    about = {"message_id": "msg_1", "shipment_id": SHIPMENT, "parcel_id": "parcel_1", "at": START.isoformat(), "lines": lines}
    assert deliver(json.dumps(about | {"type": "dispatched"})) == []
    assert check_silent_parcels.handler({}, context) == {"outcome": "checked", "checked": 1}
    assert check_silent_parcels.handler({}, context) == {"outcome": "checked", "checked": 0}
    assert conditions(log) == [("Alerted", "silent")]
    assert tracks.load(KEY).check_at is None


def test_silence_of_a_delivered_parcel_raises_no_alert(
    deliver: Callable[..., list[str]], log: OrderLog, tracks: TrackingStore, context: Any
) -> None:
    deliver(body(reading(0)))
    log.record(log.load("ord_1"), RecordDelivery("parcel_1"), source="shipping")
    check_silent_parcels.handler({}, context)
    assert (conditions(log), tracks.load(KEY).check_at) == ([], None)


def test_silence_of_an_unknown_shipment_raises_no_alert(deliver: Callable[..., list[str]], tracks: TrackingStore, context: Any) -> None:
    deliver(body(reading(0)))
    assert check_silent_parcels.handler({}, context) == {"outcome": "checked", "checked": 0}
    assert tracks.load(KEY).check_at is None


def test_failing_check_does_not_block_the_others(deliver: Callable[..., list[str]], log: OrderLog, context: Any, aws: Any) -> None:
    deliver(body(reading(0)))
    log.record(log.load("ord_1"), RecordDelivery("parcel_1"), source="shipping")

    def refuse(operation: str, _parameters: Any) -> None:
        if operation == "GetItem":
            raise throttled(operation)

    aws.dynamodb.before = refuse
    with pytest.raises(Exception, match="1 of 1 parcels were not checked"):
        check_silent_parcels.handler({}, context)
