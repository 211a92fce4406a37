"""A parcel that gets too warm, spoils and falls silent, under every fault of every call: each condition is on the log once."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orderflow.aws.order_log import OrderLog
from orderflow.domain.commands import RecordDispatch
from orderflow.domain.events import ParcelConditionAlerted, ParcelConditionResolved, StockLine
from shipping import parcel_tracking
from shipping.handlers import check_silent_parcels, track_parcels
from shipping.shipments import shipment_id
from shipping.tracking_store import ParcelKey, TrackingStore
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB
from tests.fakes.aws.environment import TABLES, Aws
from tests.faults.faults import Call, Disturbance, target_of
from tests.faults.sweeps import Sweep
from tests.support.prepared import an_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Tally
    from tests.faults.paths import Stage

PATH = "parcel conditions"
BRIE = StockLine("CHEESE-BRIE", 2)
START = datetime(2026, 1, 16, 9, tzinfo=UTC)
ATTEMPTS = 5
KEY = ParcelKey(shipment_id("ord_1"), "parcel_1")
# Minutes and temperatures of a batch each: fine, too warm, still too warm after an hour, and recovered.
BATCHES = (((0, 50), (5, 60)), ((10, 90), (20, 95)), ((65, 90), (71, 92)), ((75, 50), (95, 50)))
EXPECTED = [
    ("ParcelConditionAlerted", "temperature_out_of_range"),
    ("ParcelConditionAlerted", "goods_spoiled"),
    ("ParcelConditionResolved", "temperature_out_of_range"),
    ("ParcelConditionAlerted", "silent"),
]


@dataclass
class ParcelRun:
    """A dispatched parcel with its messages and the scheduled check."""

    context: Any
    disturbance: Disturbance
    attempts: int = 1
    aws: Aws = field(init=False)

    def __post_init__(self) -> None:
        """Dispatch the parcel, and disturb the calls from then on."""
        self.aws = Aws(dynamodb=FakeDynamoDB(*TABLES, attempts=self.attempts))
        self.aws.lend()
        log = OrderLog("OrderLog", self.aws.dynamodb.client)
        order = an_order(log, "ord_1", lines={"CHEESE-BRIE": 2}).confirmed().order
        log.record(order, RecordDispatch("parcel_1", (BRIE,)), source="shipping")
        self.aws.dynamodb.before = lambda operation, given: self.disturbance.before(self._call(operation, given), given)
        self.aws.dynamodb.after = lambda operation, given: self.disturbance.after(self._call(operation, given), given)

    def live(self) -> None:
        """Deliver every batch until it succeeds, each with a repeated message of the one before, and run the check."""
        before: list[Any] = []
        for batch in BATCHES:
            records = [_message(minute, temperature) for minute, temperature in batch]
            self.deliver([*before[-1:], *records])
            before = records
        self.check()

    def deliver(self, records: list[Any]) -> None:
        """Deliver messages until all succeed, as SQS does."""
        left = {record["messageId"]: record for record in records}
        for _ in range(ATTEMPTS):
            try:
                answer = track_parcels.handler({"Records": list(left.values())}, self.context)
            except Crash:
                continue
            failed = [str(one["itemIdentifier"]) for one in answer["batchItemFailures"]]
            left = {message_id: left[message_id] for message_id in failed}
            if not left:
                return
        message = f"still fails: {sorted(left)}"
        raise AssertionError(message)

    def check(self) -> None:
        """Run the scheduled check until it succeeds."""
        for _ in range(ATTEMPTS):
            with suppress(Crash, Exception):
                check_silent_parcels.handler({}, self.context)
                return

    def wrong(self) -> list[str]:
        """Return the differences from the expected events and from the watch that knows them."""
        self.aws.dynamodb.before = self.aws.dynamodb.after = None
        history = OrderLog("OrderLog", self.aws.dynamodb.client).history("ord_1")
        recorded = [(e.type, e.data.cause) for e in history if isinstance(e.data, ParcelConditionAlerted | ParcelConditionResolved)]
        stored = TrackingStore("Tracking", self.aws.dynamodb.client).load(KEY)
        found = [] if recorded == EXPECTED else [f"recorded {recorded}"]
        if not stored.track or stored.track.readings != sum(map(len, BATCHES)):
            found.append(f"stored {stored.track}")
        if not stored.watch or sorted(stored.watch.conditions) != ["goods_spoiled", "silent"]:
            found.append(f"watched {stored.watch}")
        return found

    def _call(self, operation: str, given: Any) -> Call:
        return Call("ShippingTrack", "dynamodb", operation, target_of(given))


def _message(minute: int, temperature: int) -> Any:
    at = START + timedelta(minutes=minute)
    body = {
        "message_id": f"msg_{minute}",
        "type": "in_transit",
        "shipment_id": KEY.shipment_id,
        "at": at.isoformat(),
        "parcel_id": KEY.parcel_id,
        "position": {"lat": 53.8, "lon": -1.5},
        "temperature": temperature,
    }
    sent = int((at + timedelta(seconds=5)).timestamp() * 1000)
    return {"messageId": f"m{minute}", "body": json.dumps(body), "attributes": {"SentTimestamp": str(sent)}}


@pytest.fixture
def recorded(stage: Stage, context: Any) -> list[Call]:
    """Return the calls of a run without faults, after checking its result."""
    run = ParcelRun(context, Disturbance())
    run.live()
    calls = list(run.disturbance.calls)
    assert run.wrong() == []
    return calls


def lived(context: Any) -> Callable[[Disturbance, int], list[str]]:
    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        parcel = ParcelRun(context, disturbance, attempts)
        parcel.live()
        return parcel.wrong()

    return run


def test_single_fault_of_one_call(recorded: list[Call], tally: Tally, context: Any) -> None:
    Sweep(PATH, tally).once(enumerate(recorded), lived(context))


def test_batch_is_delivered_at_any_call_of_another(recorded: list[Call], tally: Tally, context: Any) -> None:
    """Two batches overlap at every call: the later one is delivered before the earlier one has been stored."""

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        parcel = ParcelRun(context, disturbance, attempts)
        disturbance.act = lambda: parcel.deliver([_message(0, 50)])
        parcel.live()
        return parcel.wrong()

    Sweep(PATH, tally).between(enumerate(recorded), "readings twice", run)


def test_persistent_fault_loses_no_reading(recorded: list[Call], tally: Tally, context: Any) -> None:
    """A table fails through all receives; a redrive after the fault delivers the messages again."""

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        parcel = ParcelRun(context, disturbance, attempts)
        for batch in BATCHES:
            records = [_message(minute, temperature) for minute, temperature in batch]
            try:
                parcel.deliver(records)
            except AssertionError:
                disturbance.match = lambda _number, _call: False
                parcel.deliver(records)
        parcel.check()
        disturbance.match = lambda _number, _call: False
        parcel.check()
        return parcel.wrong()

    Sweep(PATH, tally).lasting(recorded, run)


def test_conflicts_in_every_attempt_are_redelivered(stage: Stage, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrackingStore, "replace", lambda *_: False)
    run = ParcelRun(context, Disturbance())
    answer = track_parcels.handler({"Records": [_message(0, 50)]}, context)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert run.disturbance.calls.count(Call("ShippingTrack", "dynamodb", "GetItem", "Tracking")) == parcel_tracking.ATTEMPTS
