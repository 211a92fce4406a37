"""Reserved stock expires, is dispatched, returned or released, and its sum is constant."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory import expiry, reservations
from inventory.dependencies import INVENTORY, LOG
from inventory.domain import stock_rules
from inventory.domain.stock_rules import Level, ReservationMissing, ReservedLines, RestockedLines, StockChange
from inventory.handlers import expire_reservations, sync_stock
from inventory.store import Inventory
from orderflow.aws import dynamodb
from orderflow.aws.order_log import OrderLog
from orderflow.domain.commands import (
    CancelOrder,
    Command,
    RecordCapture,
    RecordDelivery,
    RecordDispatch,
    RecordLoss,
    RecordRecall,
    RecordReturn,
    RecordShipment,
    RecordVoid,
    RequestCancellation,
    RequestReturn,
)
from orderflow.domain.events import ReservationExpired, StockLine, StockReleased
from orderflow.domain.order import Order, remaining, returnable
from tests.conftest import TABLES, Aws
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, crash_at, throttled
from tests.support import stock_shards
from tests.support.prepared import PREPARED, SAGA_STEPS, advance, place, prepare
from tests.support.samples import expected, names, order_batch, sample
from tests.support.stock_shards import PARTS, levels, scatter

RECEIVED = {"MUG-BLUE": 10, "TRAY-BIRCH": 5}
LINES = {"MUG-BLUE": 3, "TRAY-BIRCH": 1}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb.time, "sleep", lambda _: None)


@pytest.fixture
def database(aws: Aws) -> FakeDynamoDB:
    fill(aws.dynamodb)
    return aws.dynamodb


@pytest.fixture
def run(context: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the schedule with this reservation time."""

    def once(reservation_time: timedelta = timedelta(days=-1)) -> dict[str, Any]:
        monkeypatch.setattr(expire_reservations, "RESERVATION_TIME", reservation_time)
        return expire_reservations.handler({}, context)

    return once


@pytest.fixture
def deliver(context: Any) -> Callable[..., list[str]]:
    """Return a function that delivers an event of each order to the consumer and returns the failed orders."""

    def deliver_events(*order_ids: str) -> list[str]:
        failed = sync_stock.handler(order_batch(*order_ids), context)["batchItemFailures"]
        return [order_ids[int(str(item["itemIdentifier"]).removeprefix("message-")) - 1] for item in failed]

    return deliver_events


def fill(database: FakeDynamoDB) -> None:
    database.seed(
        "Stock", *({"sku": {"S": sku}, "available": {"N": str(count)}, "reserved": {"N": "0"}} for sku, count in RECEIVED.items())
    )


def mug_level(database: FakeDynamoDB) -> Level:
    return levels(database)["MUG-BLUE"]


def seeded_stock() -> dict[str, Level]:
    return {sku: Level(count) for sku, count in RECEIVED.items()}


def place_and_advance(*steps: str, order_id: str = "ord_1", **order: Any) -> Order:
    """Append an order with a real reservation and these further steps."""
    place(LOG, order_id, **{"lines": LINES, **order})
    return advance(
        LOG, order_id, *steps, real_steps={"inventory.handlers.reserve_stock": lambda one: reservations.reserve(LOG, INVENTORY, one)}
    )


def record(*commands: Command, order_id: str = "ord_1") -> None:
    for command in commands:
        LOG.record(LOG.load(order_id), command, source="tests")


def types(order_id: str = "ord_1") -> list[str]:
    return [event.type for event in LOG.history(order_id)]


def parcel(number: int, **lines: int) -> RecordDispatch:
    return RecordDispatch(f"parcel_{number}", tuple(StockLine(sku.replace("_", "-"), count) for sku, count in lines.items()))


SHIPPED = (RecordShipment("ship_1"), parcel(1, MUG_BLUE=1))


@pytest.mark.parametrize("name", names("inventory/expire_reservations"))
def test_every_sample_of_the_schedule_has_its_answer(name: str, aws: Aws, context: Any) -> None:
    assert expire_reservations.handler(sample(name), context).items() >= expected(name).items()


@pytest.mark.parametrize("steps", [SAGA_STEPS[:1], SAGA_STEPS[:2], SAGA_STEPS[:3]], ids=["reserved", "screened", "authorized"])
def test_expired_reservation_is_available_and_can_be_made_again(
    steps: tuple[str, ...], database: FakeDynamoDB, run: Callable[..., dict[str, Any]]
) -> None:
    place_and_advance(*steps)

    assert run() == {"outcome": "expired", "expired": 1}

    assert levels(database) == seeded_stock()
    assert database.items("Reservations") == []
    event = LOG.history("ord_1")[-1]
    assert (event.source, event.data) == ("inventory", ReservationExpired((StockLine("MUG-BLUE", 3), StockLine("TRAY-BIRCH", 1))))
    assert reservations.reserve(LOG, INVENTORY, "ord_1") == "reserved"
    assert mug_level(database) == Level(7, 3)
    assert run()["expired"] == 1


def test_held_order_stays_held_without_its_stock(database: FakeDynamoDB, run: Callable[..., dict[str, Any]]) -> None:
    database.seed("Stock", {"sku": {"S": "ESPRESSO-PRO"}, "available": {"N": "1"}, "reserved": {"N": "0"}})
    place_and_advance(*SAGA_STEPS[:2], lines={"ESPRESSO-PRO": 1})

    assert run()["expired"] == 1

    assert LOG.load("ord_1").state == "held"
    assert levels(database)["ESPRESSO-PRO"] == Level(1)
    database.calls.clear()
    assert run()["expired"] == 0
    assert database.calls == {"Query": 16, "BatchGetItem": 1}, "the log of a held order was read: read only reservations that may expire"


@pytest.mark.parametrize(
    ("reservation_time", "steps"), [(timedelta(minutes=30), SAGA_STEPS[:3]), (timedelta(days=-1), SAGA_STEPS)], ids=["recent", "confirmed"]
)
def test_recent_reservations_and_confirmed_orders_keep_their_stock(
    reservation_time: timedelta, steps: tuple[str, ...], database: FakeDynamoDB, run: Callable[..., dict[str, Any]]
) -> None:
    place_and_advance(*steps)

    assert run(reservation_time) == {"outcome": "expired", "expired": 0}
    assert mug_level(database) == Level(7, 3)


def test_confirmed_order_with_stale_marker_keeps_its_stock(database: FakeDynamoDB, run: Callable[..., dict[str, Any]]) -> None:
    place_and_advance(*SAGA_STEPS[:3])
    database.before = crash_at("UpdateItem")
    with pytest.raises(Crash):
        advance(LOG, "ord_1", "orders.handlers.confirm_order")

    assert run()["expired"] == 0
    assert mug_level(database) == Level(7, 3)


def test_held_order_with_stale_marker_loses_its_stock(database: FakeDynamoDB, run: Callable[..., dict[str, Any]]) -> None:
    database.seed("Stock", {"sku": {"S": "ESPRESSO-PRO"}, "available": {"N": "1"}, "reserved": {"N": "0"}})
    place_and_advance("inventory.handlers.reserve_stock", lines={"ESPRESSO-PRO": 1})
    database.before = crash_at("UpdateItem")
    with pytest.raises(Crash):
        advance(LOG, "ord_1", "fraud.handlers.screen_order")

    assert run()["expired"] == 1
    assert (LOG.load("ord_1").state, levels(database)["ESPRESSO-PRO"]) == ("held", Level(1))


def test_recent_reservation_of_an_old_order_is_not_expired(database: FakeDynamoDB, run: Callable[..., dict[str, Any]]) -> None:
    place_and_advance("inventory.handlers.reserve_stock")
    database.client.update_item(
        TableName="OrderLog",
        Key={"order_id": {"S": "ord_1"}, "version": {"N": "1"}},
        UpdateExpression="SET open_since = :since",
        ExpressionAttributeValues={":since": {"S": dynamodb.timestamp(LONG_AGO)}},
    )

    assert run(timedelta(minutes=30))["expired"] == 0
    assert types() == ["OrderPlaced", "StockReserved"]


def test_confirmation_and_expiry_exclude_each_other(database: FakeDynamoDB, run: Callable[..., dict[str, Any]]) -> None:
    place_and_advance(*SAGA_STEPS[:3])

    def confirm_first(name: str, _: dict[str, Any]) -> None:
        if name == "TransactWriteItems":
            database.before = None
            advance(LOG, "ord_1", "orders.handlers.confirm_order")

    database.before = confirm_first

    assert run()["expired"] == 0
    assert types()[-1] == "OrderConfirmed"
    assert mug_level(database) == Level(7, 3)


def test_failing_expiry_does_not_stop_the_others(database: FakeDynamoDB, run: Callable[..., dict[str, Any]]) -> None:
    place_and_advance("inventory.handlers.reserve_stock")
    place_and_advance("inventory.handlers.reserve_stock", order_id="ord_2")
    [row] = [row for row in database.items("Stock") if row["sku"]["S"] == "MUG-BLUE"]
    place_and_advance("inventory.handlers.reserve_stock", order_id="ord_3", lines={"TRAY-BIRCH": 1})
    database.seed("Stock", {**row, "reserved": {"N": "3"}})

    with pytest.raises(expiry.NotAllExpired, match="1 of 3"):
        run()
    assert sorted(types(order_id)[-1] for order_id in ("ord_1", "ord_2", "ord_3")) == ["ReservationExpired"] * 2 + ["StockReserved"]


def test_excess_work_is_done_by_the_next_runs(database: FakeDynamoDB) -> None:
    for number in range(6):
        place_and_advance("inventory.handlers.reserve_stock", order_id=f"ord_{number}", lines={"MUG-BLUE": 1})
    later = datetime.now(UTC) + timedelta(days=1)

    done = [expiry.expire_all(LOG, expire_reservations.ACTIVE_ORDERS, INVENTORY, later, most=2).expired for _ in range(4)]

    assert done == [2, 2, 2, 0]
    assert levels(database) == seeded_stock()


@pytest.mark.parametrize("name", names("inventory/sync_stock"))
def test_every_sample_of_the_queue_has_its_answer(name: str, database: FakeDynamoDB, context: Any) -> None:
    for order_id in (order_id for order_id in PREPARED if "settle" in order_id):
        prepare(LOG, order_id, real_steps={"inventory.handlers.reserve_stock": lambda one: reservations.reserve(LOG, INVENTORY, one)})

    assert sync_stock.handler(sample(name), context) == expected(name)


def test_dispatched_stock_leaves_and_returned_stock_is_available(database: FakeDynamoDB, deliver: Callable[..., list[str]]) -> None:
    place_and_advance(*SAGA_STEPS)
    record(*SHIPPED)
    assert deliver("ord_1") == []
    assert levels(database) == {"MUG-BLUE": Level(7, 2, 1), "TRAY-BIRCH": Level(4, 1)}

    record(parcel(2, MUG_BLUE=2, TRAY_BIRCH=1), RecordDelivery("parcel_1"), RecordLoss("parcel_2"))
    assert deliver("ord_1") == []
    assert levels(database) == {"MUG-BLUE": Level(7, 0, 3), "TRAY-BIRCH": Level(4, 0, 1)}

    record(RequestReturn("ret_1", (StockLine("MUG-BLUE", 1),), "too small", LONG_AGO), RecordReturn("ret_1"))
    assert deliver("ord_1", "ord_1") == []
    assert levels(database) == {"MUG-BLUE": Level(8, 0, 2), "TRAY-BIRCH": Level(4, 0, 1)}


def test_late_or_redelivered_event_changes_nothing(database: FakeDynamoDB, deliver: Callable[..., list[str]]) -> None:
    place_and_advance(*SAGA_STEPS)
    record(
        *SHIPPED,
        RecordDelivery("parcel_1"),
        RequestReturn("ret_1", (StockLine("MUG-BLUE", 1),), "too small", LONG_AGO),
        RecordReturn("ret_1"),
    )
    deliver("ord_1")
    synced = levels(database)
    database.calls.clear()

    assert deliver("ord_1", "ord_1") == []
    assert levels(database) == synced == {"MUG-BLUE": Level(8, 2), "TRAY-BIRCH": Level(4, 1)}
    assert set(database.calls) == {"GetItem", "Query"}


@pytest.mark.parametrize("synced_before", [False, True])
def test_partly_dispatched_order_releases_only_the_rest(
    database: FakeDynamoDB, deliver: Callable[..., list[str]], *, synced_before: bool
) -> None:
    place_and_advance(*SAGA_STEPS)
    record(*SHIPPED)
    if synced_before:
        deliver("ord_1")
    record(RequestCancellation("customer"), RecordRecall("ship_1"), RecordCapture("parcel_1", "cap_1"), RecordVoid("auth_1"))

    assert reservations.release(LOG, INVENTORY, "ord_1") == "released"

    assert LOG.history("ord_1")[-1].data == StockReleased((StockLine("MUG-BLUE", 2), StockLine("TRAY-BIRCH", 1)))
    assert levels(database) == {"MUG-BLUE": Level(9, 0, 1), "TRAY-BIRCH": Level(5)}
    assert deliver("ord_1") == []
    assert levels(database) == {"MUG-BLUE": Level(9, 0, 1), "TRAY-BIRCH": Level(5)}


@pytest.mark.parametrize("first", ["sync", "release"])
def test_concurrent_sync_and_release_each_have_one_effect(first: str, database: FakeDynamoDB) -> None:
    place_and_advance(*SAGA_STEPS)
    record(*SHIPPED, RequestCancellation("customer"), RecordRecall("ship_1"), RecordCapture("parcel_1", "cap_1"), RecordVoid("auth_1"))
    work = {"sync": reservations.sync_stock, "release": reservations.release}
    other = next(name for name in work if name != first)

    def meanwhile(name: str, _: dict[str, Any]) -> None:
        if name == "TransactWriteItems":
            database.before = None
            work[other](LOG, INVENTORY, "ord_1")

    database.before = meanwhile
    work[first](LOG, INVENTORY, "ord_1")

    assert levels(database) == {"MUG-BLUE": Level(9, 0, 1), "TRAY-BIRCH": Level(5)}
    assert types().count("StockReleased") == 1


def test_crashed_sync_is_completed_by_redelivery(database: FakeDynamoDB, deliver: Callable[..., list[str]]) -> None:
    place_and_advance(*SAGA_STEPS)
    record(*SHIPPED)
    for when in ("before", "after"):
        for operation in ("GetItem", "Query", "TransactWriteItems"):
            setattr(database, when, crash_at(operation))
            with pytest.raises(Crash):
                reservations.sync_stock(LOG, INVENTORY, "ord_1")
            setattr(database, when, None)
            deliver("ord_1")
            assert levels(database) == {"MUG-BLUE": Level(7, 2, 1), "TRAY-BIRCH": Level(4, 1)}
            revert_to_reserved(database)


def revert_to_reserved(database: FakeDynamoDB) -> None:
    row, whole = INVENTORY.reserved_lines("ord_1"), ReservedLines(tuple(StockLine(sku, count) for sku, count in LINES.items()))
    order = LOG.load("ord_1")
    revert = stock_rules.moves(stock_shards.holding_of(order), stock_rules.holding(order, whole, RestockedLines()))
    reservations._change_stock(LOG, INVENTORY, order, StockChange(revert, row, whole))
    [row_] = database.items("Reservations")
    database.seed("Reservations", {name: value for name, value in row_.items() if name != "parcels"})
    assert mug_level(database) == Level(7, 3)


def test_failed_message_is_retried_alone(database: FakeDynamoDB, deliver: Callable[..., list[str]]) -> None:
    place_and_advance(*SAGA_STEPS)
    record(*SHIPPED)

    assert deliver("ord_none", "ord_1") == ["ord_none"]
    assert mug_level(database) == Level(7, 2, 1)


def test_unavailable_service_is_retried_from_the_queue(database: FakeDynamoDB, deliver: Callable[..., list[str]]) -> None:
    place_and_advance(*SAGA_STEPS)
    record(*SHIPPED)

    def hook(name: str, _: dict[str, Any]) -> None:
        if name == "GetItem":
            database.before = None
            raise throttled(name)

    database.before = hook
    assert deliver("ord_1") == ["ord_1"]
    assert deliver("ord_1") == []
    assert mug_level(database) == Level(7, 2, 1)


def test_order_without_reservation_cannot_be_synced(aws: Aws) -> None:
    place(LOG)
    assert reservations.sync_stock(LOG, INVENTORY, "ord_1") == "unchanged"
    advance(LOG, "ord_1", "inventory.handlers.reserve_stock")
    for min_version in (None, 1):
        with pytest.raises(ReservationMissing):
            reservations.sync_stock(LOG, INVENTORY, "ord_1", min_version)


ALL = parcel(1, MUG_BLUE=3, TRAY_BIRCH=1)


def returned(number: int, **lines: int) -> tuple[Command, Command]:
    return_id = f"ret_{number}"
    action = tuple(StockLine(sku.replace("_", "-"), count) for sku, count in lines.items())
    return RequestReturn(return_id, action, "too small", LONG_AGO), RecordReturn(return_id)


def rows(database: FakeDynamoDB) -> tuple[int, int]:
    return len(database.items("Reservations")), len(database.items("ReturnedStock"))


def test_fully_dispatched_order_has_no_row(database: FakeDynamoDB, deliver: Callable[..., list[str]]) -> None:
    place_and_advance(*SAGA_STEPS)
    record(RecordShipment("ship_1"), ALL)
    assert rows(database) == (1, 0)

    assert deliver("ord_1") == []
    assert rows(database) == (0, 0)
    shipped_all = {"MUG-BLUE": Level(7, 0, 3), "TRAY-BIRCH": Level(4, 0, 1)}
    assert levels(database) == shipped_all
    database.calls.clear()
    assert deliver("ord_1", "ord_1") == []
    assert levels(database) == shipped_all
    assert set(database.calls) == {"GetItem", "Query"}


@pytest.mark.parametrize("synced", [(True, True), (True, False), (False, True), (False, False)])
def test_returns_count_once_before_or_after_the_parcels(
    synced: tuple[bool, bool], database: FakeDynamoDB, deliver: Callable[..., list[str]]
) -> None:
    place_and_advance(*SAGA_STEPS)
    record(RecordShipment("ship_1"), ALL)
    if synced[0]:
        deliver("ord_1")
    record(RecordDelivery("parcel_1"), *returned(1, MUG_BLUE=1))
    if synced[1]:
        deliver("ord_1", "ord_1")
        assert levels(database) == {"MUG-BLUE": Level(8, 0, 2), "TRAY-BIRCH": Level(4, 0, 1)}
    record(*returned(2, MUG_BLUE=2, TRAY_BIRCH=1))

    assert deliver("ord_1", "ord_1") == []
    assert levels(database) == seeded_stock()
    assert rows(database) == (0, 1)


@pytest.mark.parametrize("synced", [True, False])
def test_return_of_a_partly_cancelled_order_counts_once(synced: bool, database: FakeDynamoDB, deliver: Callable[..., list[str]]) -> None:
    place_and_advance(*SAGA_STEPS)
    record(*SHIPPED)
    if synced:
        deliver("ord_1")
    record(RecordDelivery("parcel_1"), *returned(1, MUG_BLUE=1))
    if synced:
        deliver("ord_1")
    record(RequestCancellation("customer"), RecordRecall("ship_1"), RecordCapture("parcel_1", "cap_1"), RecordVoid("auth_1"))

    assert reservations.release(LOG, INVENTORY, "ord_1") == "released"
    assert rows(database) == (0, int(synced))
    assert deliver("ord_1", "ord_1") == []
    assert levels(database) == seeded_stock()


@pytest.mark.parametrize("operation", ["Query", "TransactWriteItems"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("returns", [(), returned(1, MUG_BLUE=1)], ids=["dispatched", "returned"])
def test_concurrent_syncs_have_one_effect(operation: str, when: str, returns: tuple[Command, ...], database: FakeDynamoDB) -> None:
    place_and_advance(*SAGA_STEPS)
    record(*SHIPPED)
    reservations.sync_stock(LOG, INVENTORY, "ord_1")
    record(parcel(2, MUG_BLUE=2, TRAY_BIRCH=1), RecordDelivery("parcel_1"), *returns)

    def other(name: str, _: dict[str, Any]) -> None:
        if name == operation:
            setattr(database, when, None)
            reservations.sync_stock(LOG, INVENTORY, "ord_1")

    setattr(database, when, other)
    reservations.sync_stock(LOG, INVENTORY, "ord_1")

    returned_units = 1 if returns else 0
    assert levels(database) == {"MUG-BLUE": Level(7 + returned_units, 0, 3 - returned_units), "TRAY-BIRCH": Level(4, 0, 1)}
    assert rows(database) == (0, returned_units)


@pytest.mark.parametrize(
    ("then", "synced"),
    [
        ((), False),
        ((parcel(2, MUG_BLUE=1),), False),
        ((parcel(2, MUG_BLUE=1),), True),
        ((parcel(2, MUG_BLUE=2, TRAY_BIRCH=1),), True),
        ((parcel(2, MUG_BLUE=2, TRAY_BIRCH=1), RecordDelivery("parcel_1"), *returned(1, MUG_BLUE=1)), True),
        ((parcel(2, MUG_BLUE=2, TRAY_BIRCH=1), RecordDelivery("parcel_1"), *returned(1, MUG_BLUE=1)), False),
    ],
)
def test_stale_read_reverts_no_newer_change(
    then: tuple[Command, ...], synced: bool, database: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_and_advance(*SAGA_STEPS)
    record(*SHIPPED)
    early = LOG.load("ord_1")
    record(*then)
    if synced:
        reservations.sync_stock(LOG, INVENTORY, "ord_1")
    load = OrderLog.load
    monkeypatch.setattr(OrderLog, "load", lambda log, order_id, min_version=None: early if min_version else load(log, order_id))

    reservations.sync_stock(LOG, INVENTORY, "ord_1", early.version)

    if not synced:
        assert levels(database) == {"MUG-BLUE": Level(7, 2, 1), "TRAY-BIRCH": Level(4, 1)}
        reservations.sync_stock(LOG, INVENTORY, "ord_1")
    assert levels(database) == stock_shards.moved(
        seeded_stock(), stock_rules.moves(stock_rules.Holding(), stock_shards.holding_of(LOG.load("ord_1")))
    )


def choose(draw: st.DrawFn, order: Order, number: int) -> Command | None:
    """Draw a command that the order can accept next; None if there is none."""
    rest, returns = remaining(order), returnable(order)
    under_way = [parcel.parcel_id for parcel in order.parcels if parcel.state == "dispatched"]
    requested = [one.return_id for one in order.returns if one.amount is None]
    possible: list[Command] = [
        *(command(parcel_id) for parcel_id in under_way for command in (RecordDelivery, RecordLoss)),
        *(RecordReturn(return_id) for return_id in requested),
        *([RecordDispatch(f"parcel_{number}", (draw(st.sampled_from(rest)),))] if rest and order.reservation == "held" else []),
        *([RequestReturn(f"ret_{number}", (draw(st.sampled_from(returns)),), "", LONG_AGO)] if returns else []),
    ]
    return draw(st.sampled_from(possible)) if possible else None


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, int], list[tuple[str, Any]]]:
    """Draw order lines and seeds of commands, with deliveries between them."""
    lines = draw(st.dictionaries(st.sampled_from(sorted(RECEIVED)), st.integers(1, 5), min_size=1))
    return lines, draw(
        st.lists(st.tuples(st.sampled_from(["record", "record", "settle", "cancel", "scatter"]), st.integers(0, 99)), max_size=12)
    )


@settings(max_examples=30)
@given(histories(), st.data())
def test_stock_follows_the_log_under_any_history(history: tuple[dict[str, int], list[tuple[str, int]]], data: st.DataObject) -> None:
    database = FakeDynamoDB(*TABLES)
    log, inventory = OrderLog("OrderLog", database.client), Inventory("Stock", "Reservations", "ReturnedStock", database.client)
    fill(database)
    place(log, lines=history[0])
    advance(
        log, "ord_1", *SAGA_STEPS, real_steps={"inventory.handlers.reserve_stock": lambda one: reservations.reserve(log, inventory, one)}
    )
    log.record(log.load("ord_1"), RecordShipment("ship_1"), source="tests")
    for number, (action, seed) in enumerate(history[1]):
        order = log.load("ord_1")
        if action == "scatter":
            for sku in RECEIVED:
                scatter(database, sku, partial(random.Random(seed).randrange, stock_rules.SHARDS))
        elif action == "sync":
            reservations.sync_stock(log, inventory, "ord_1")
        elif action == "cancel" and remaining(order) and order.reservation == "held":
            captures = [RecordCapture(one.parcel_id, f"cap_{one.parcel_id}") for one in order.parcels]
            for command in (RequestCancellation("customer"), RecordRecall("ship_1"), *captures, RecordVoid("auth_1")):
                log.record(log.load("ord_1"), command, source="tests")
            reservations.release(log, inventory, "ord_1")
            log.record(log.load("ord_1"), CancelOrder(), source="tests")
        elif command := data.draw(st.composite(lambda draw, order=order, number=number: choose(draw, order, number))()):
            log.record(order, command, source="tests")
        assert all(int(row[part]["N"]) >= 0 for row in database.items("Stock") for part in PARTS if part in row)
        assert {sku: level.available + level.reserved + level.shipped for sku, level in levels(database).items()} == RECEIVED
    reservations.sync_stock(log, inventory, "ord_1")
    holding = stock_shards.holding_of(log.load("ord_1"))
    assert levels(database) == stock_shards.moved(seeded_stock(), stock_rules.moves(stock_rules.Holding(), holding))
