"""Stock is synced with an order's dispatches, returns and cancellations, in any order of delivery."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory import reservations
from inventory.dependencies import INVENTORY, LOG
from inventory.domain import stock_rules
from inventory.domain.stock_rules import Level, ReservationMissing, ReservedLines, RestockedLines, StockChange
from inventory.handlers import sync_stock
from inventory.store import Inventory
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
from orderflow.domain.events import StockLine, StockReleased
from orderflow.domain.order import Order, remaining, returnable
from tests.conftest import TABLES, Aws
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, crash_at, throttled
from tests.support import stock_shards
from tests.support.prepared import PREPARED, SAGA_STEPS, advance, place, prepare
from tests.support.samples import expected, names, order_batch, sample
from tests.support.stock_shards import PARTS, levels, scatter
from tests.support.stocked_orders import LINES, LONG_AGO, RECEIVED, fill, mug_level, place_and_advance, seeded_stock, types


@pytest.fixture
def deliver(context: Any) -> Callable[..., list[str]]:
    """Return a function that delivers an event of each order to the consumer and returns the failed orders."""

    def deliver_events(*order_ids: str) -> list[str]:
        failed = sync_stock.handler(order_batch(*order_ids), context)["batchItemFailures"]
        return [order_ids[int(str(item["itemIdentifier"]).removeprefix("message-")) - 1] for item in failed]

    return deliver_events


def record(*commands: Command, order_id: str = "ord_1") -> None:
    for command in commands:
        LOG.record(LOG.load(order_id), command, source="tests")


def parcel(number: int, **lines: int) -> RecordDispatch:
    return RecordDispatch(f"parcel_{number}", tuple(StockLine(sku.replace("_", "-"), count) for sku, count in lines.items()))


SHIPPED = (RecordShipment("ship_1"), parcel(1, MUG_BLUE=1))


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
