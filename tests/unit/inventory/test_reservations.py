"""Reserving and releasing stock: once per order, in one transaction with the order's event."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtools.products import PRODUCTS
from inventory import reservations
from inventory.dependencies import INVENTORY, LOG
from inventory.domain import stock_rules
from inventory.domain.stock_rules import Holding, Level, ReservationMissing, ReservedLines, StockChange
from inventory.handlers import release_stock, reserve_stock
from inventory.stock_shards import OutOfStock
from inventory.store import Inventory
from orderflow.aws.dynamodb import TransactionConditionFailed, TransactionConflict
from orderflow.aws.order_log import OrderLog, OrderNotFound
from orderflow.domain.commands import ExpireReservation, FailFulfilment, RecordDispatch, RecordReservation
from orderflow.domain.events import Shortage, StockLine, StockReleased, StockReservationFailed, StockReserved
from orderflow.domain.order import stock_lines
from tests.conftest import TABLES, Aws
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, Hook, conflict, crash_at
from tests.support import stock_shards
from tests.support.prepared import SAGA_STEPS, advance, place, prepare
from tests.support.stock_shards import levels

EVENTS = Path(__file__).resolve().parents[3] / "events" / "inventory"


def samples(function: str) -> list[str]:
    return sorted(path.stem for path in (EVENTS / function).glob("*.json") if not path.stem.endswith(".answer"))


@pytest.fixture
def database(aws: Aws) -> FakeDynamoDB:
    seed_stock(aws.dynamodb, {product.sku: product.stock for product in PRODUCTS})
    return aws.dynamodb


@pytest.fixture
def real_steps(context: Any) -> dict[str, Callable[[str], str]]:
    def step(handler: Any) -> Callable[[str], str]:
        return lambda order_id: handler({"order_id": order_id, "correlation_id": "c", "execution": "e"}, context)["outcome"]

    return {
        "inventory.handlers.reserve_stock": step(reserve_stock.handler),
        "inventory.handlers.release_stock": step(release_stock.handler),
    }


@pytest.fixture
def do_reserve(real_steps: dict[str, Callable[[str], str]]) -> Callable[[str], str]:
    return real_steps["inventory.handlers.reserve_stock"]


@pytest.fixture
def do_release(real_steps: dict[str, Callable[[str], str]]) -> Callable[[str], str]:
    return real_steps["inventory.handlers.release_stock"]


def seed_stock(database: FakeDynamoDB, available: dict[str, int]) -> None:
    rows = [{"sku": {"S": sku}, "available": {"N": str(amount)}, "reserved": {"N": "0"}} for sku, amount in available.items()]
    database.seed("Stock", *rows)


def level(database: FakeDynamoDB, sku: str) -> Level:
    return levels(database)[sku]


def row(order_id: str, lines: dict[str, int]) -> dict[str, Any]:
    items = [{"M": {"sku": {"S": sku}, "quantity": {"N": str(quantity)}}} for sku, quantity in lines.items()]
    return {"order_id": {"S": order_id}, "lines": {"L": items}, "reserved_at": {"S": "2026-01-15T10:30:00.000000Z"}}


def fail(order_id: str) -> None:
    LOG.record(LOG.load(order_id), FailFulfilment("authorize", "States.Timeout"), source="orders")


def event_types(order_id: str) -> list[str]:
    return [event.type for event in LOG.history(order_id)]


def before_next(operation: str, meanwhile: Callable[[], object]) -> Callable[[FakeDynamoDB], None]:
    """Run `meanwhile` just before the next call of an operation."""

    def arm(database: FakeDynamoDB) -> None:
        def hook(name: str, _: dict[str, Any]) -> None:
            if name == operation:
                database.before = None
                meanwhile()

        database.before = hook

    return arm


@pytest.mark.parametrize("name", samples("reserve_stock"))
def test_every_reserve_sample_has_its_answer(
    name: str, database: FakeDynamoDB, context: Any, real_steps: dict[str, Callable[[str], str]]
) -> None:
    event = json.loads((EVENTS / "reserve_stock" / f"{name}.json").read_text())
    prepare(LOG, event["order_id"], real_steps=real_steps)

    assert reserve_stock.handler(event, context) == json.loads((EVENTS / "reserve_stock" / f"{name}.answer.json").read_text())


@pytest.mark.parametrize("name", samples("release_stock"))
def test_every_release_sample_has_its_answer(
    name: str, database: FakeDynamoDB, context: Any, real_steps: dict[str, Callable[[str], str]]
) -> None:
    event = json.loads((EVENTS / "release_stock" / f"{name}.json").read_text())
    prepare(LOG, event["order_id"], *SAGA_STEPS, real_steps=real_steps)

    assert release_stock.handler(event, context) == json.loads((EVENTS / "release_stock" / f"{name}.answer.json").read_text())


def test_reserving_moves_every_line_and_writes_the_row_and_the_event(database: FakeDynamoDB, do_reserve: Callable[[str], str]) -> None:
    place(LOG, lines={"MUG-BLUE": 2, "TRAY-BIRCH": 1})
    before = levels(database)

    assert do_reserve("ord_1") == "reserved"

    lines = (StockLine("MUG-BLUE", 2), StockLine("TRAY-BIRCH", 1))
    assert levels(database) == stock_shards.reserved(before, lines)
    (row,) = database.items("Reservations")
    assert row["order_id"] == {"S": "ord_1"}
    assert [line["M"]["quantity"]["N"] for line in row["lines"]["L"]] == ["2", "1"]
    event = LOG.history("ord_1")[-1]
    assert (event.source, event.data) == ("inventory", StockReserved(lines))


def test_shortage_reserves_nothing_and_fails_the_order(database: FakeDynamoDB, do_reserve: Callable[[str], str]) -> None:
    place(LOG, lines={"MUG-BLUE": 2, "LAST-ITEM-CLOCK": 3, "SOLD-OUT-LAMP": 1})
    before = levels(database)

    assert do_reserve("ord_1") == "out_of_stock"

    assert levels(database) == before
    assert database.items("Reservations") == []
    shortages = (Shortage("LAST-ITEM-CLOCK", 3, 1), Shortage("SOLD-OUT-LAMP", 1, 0))
    assert LOG.history("ord_1")[-1].data == StockReservationFailed(shortages)
    assert LOG.load("ord_1").state == "failing"


def test_product_without_stock_row_is_out_of_stock(aws: Aws, do_reserve: Callable[[str], str]) -> None:
    place(LOG, lines={"MUG-BLUE": 2})

    assert do_reserve("ord_1") == "out_of_stock"
    assert LOG.history("ord_1")[-1].data == StockReservationFailed((Shortage("MUG-BLUE", 2, 0),))


def test_98_lines_fit_into_one_transaction(aws: Aws) -> None:
    lines = tuple(StockLine(f"SKU-{number}", 1) for number in range(98))
    seed_stock(aws.dynamodb, {line.sku: 1 for line in lines})
    reserving = StockChange(stock_rules.moves(Holding(), Holding(lines)), None, ReservedLines(lines))
    expiring = StockChange(stock_rules.moves(Holding(lines), Holding()), ReservedLines(lines), None)

    order = reservations._change_stock(LOG, INVENTORY, place(LOG), reserving, RecordReservation()).order
    assert all(found == Level(0, 1) for found in levels(aws.dynamodb).values())

    command = ExpireReservation(datetime.now(UTC) + timedelta(days=1))
    reservations._change_stock(LOG, INVENTORY, order, expiring, command)
    assert all(found == Level(1, 0) for found in levels(aws.dynamodb).values())
    assert aws.dynamodb.items("Reservations") == []


@pytest.mark.parametrize("available", [0, 5])
def test_reserving_again_changes_nothing(aws: Aws, do_reserve: Callable[[str], str], available: int) -> None:
    seed_stock(aws.dynamodb, {"MUG-BLUE": available})
    place(LOG)
    answer = do_reserve("ord_1")
    before, history = aws.dynamodb.items("Stock"), event_types("ord_1")
    aws.dynamodb.calls.clear()

    assert do_reserve("ord_1") == answer
    assert aws.dynamodb.calls == {"Query": 1}
    assert (aws.dynamodb.items("Stock"), event_types("ord_1")) == (before, history)


def test_two_executions_of_one_order_make_one_reservation(database: FakeDynamoDB, do_reserve: Callable[[str], str]) -> None:
    place(LOG, lines={"MUG-BLUE": 2})
    before = level(database, "MUG-BLUE")
    before_next("TransactWriteItems", lambda: do_reserve("ord_1"))(database)

    assert do_reserve("ord_1") == "reserved"
    assert level(database, "MUG-BLUE") == Level(before.available - 2, 2)
    assert event_types("ord_1") == ["OrderPlaced", "StockReserved"]


def test_late_execution_finds_the_last_item_reserved(database: FakeDynamoDB, do_reserve: Callable[[str], str]) -> None:
    place(LOG, lines={"LAST-ITEM-CLOCK": 1})
    before_next("TransactWriteItems", lambda: do_reserve("ord_1"))(database)

    assert do_reserve("ord_1") == "reserved"
    assert level(database, "LAST-ITEM-CLOCK") == Level(0, 1)


def test_last_item_goes_to_one_of_two_customers(database: FakeDynamoDB, do_reserve: Callable[[str], str]) -> None:
    place(LOG, "ord_ann", lines={"LAST-ITEM-CLOCK": 1})
    place(LOG, "ord_bob", customer="bob", lines={"LAST-ITEM-CLOCK": 1})
    before_next("TransactWriteItems", lambda: do_reserve("ord_bob"))(database)

    assert do_reserve("ord_ann") == "out_of_stock"
    assert event_types("ord_bob") == ["OrderPlaced", "StockReserved"]
    assert level(database, "LAST-ITEM-CLOCK") == Level(0, 1)


def test_order_failing_during_reservation_gets_no_stock(database: FakeDynamoDB, do_reserve: Callable[[str], str]) -> None:
    place(LOG)
    before = levels(database)
    before_next("TransactWriteItems", lambda: fail("ord_1"))(database)

    assert do_reserve("ord_1") == "failing"
    assert levels(database) == before
    assert database.items("Reservations") == []


def test_release_restocks_all_lines_and_deletes_the_row(
    database: FakeDynamoDB, do_reserve: Callable[[str], str], do_release: Callable[[str], str]
) -> None:
    place(LOG, lines={"MUG-BLUE": 2, "LAST-ITEM-CLOCK": 1})
    before = levels(database)
    do_reserve("ord_1")
    fail("ord_1")

    assert do_release("ord_1") == "released"
    assert levels(database) == before
    assert database.items("Reservations") == []
    event = LOG.history("ord_1")[-1]
    assert (event.source, event.data) == (
        "inventory",
        StockReleased((StockLine("MUG-BLUE", 2), StockLine("LAST-ITEM-CLOCK", 1))),
    )


def test_releasing_again_changes_nothing(
    database: FakeDynamoDB, do_reserve: Callable[[str], str], do_release: Callable[[str], str]
) -> None:
    place(LOG)
    before = levels(database)
    do_reserve("ord_1")
    fail("ord_1")
    before_next("TransactWriteItems", lambda: do_release("ord_1"))(database)

    assert do_release("ord_1") == "released"
    assert do_release("ord_1") == "released"
    assert levels(database) == before
    assert event_types("ord_1").count("StockReleased") == 1


def test_cancelled_order_releases_its_stock_and_reserves_none(
    database: FakeDynamoDB, do_reserve: Callable[[str], str], do_release: Callable[[str], str]
) -> None:
    place(LOG)
    before = levels(database)
    do_reserve("ord_1")
    advance(LOG, "ord_1", "customer.cancels")

    assert do_reserve("ord_1") == "cancelling"
    assert do_release("ord_1") == "released"
    assert do_release("ord_1") == "released"
    assert levels(database) == before


def test_order_cancelled_during_reservation_gets_no_stock(
    database: FakeDynamoDB, do_reserve: Callable[[str], str], do_release: Callable[[str], str]
) -> None:
    place(LOG)
    before = levels(database)
    before_next("TransactWriteItems", lambda: advance(LOG, "ord_1", "customer.cancels"))(database)

    assert do_reserve("ord_1") == "cancelling"
    assert do_release("ord_1") == "nothing_to_release"
    assert levels(database) == before


def test_only_undispatched_stock_is_released(
    database: FakeDynamoDB, do_reserve: Callable[[str], str], do_release: Callable[[str], str]
) -> None:
    place(LOG, lines={"MUG-BLUE": 3, "LAST-ITEM-CLOCK": 1})
    before = levels(database)
    do_reserve("ord_1")
    advance(LOG, "ord_1", "fraud.handlers.screen_order", "payments.handlers.authorize_payment", "orders.handlers.confirm_order")
    left = (StockLine("MUG-BLUE", 2), StockLine("LAST-ITEM-CLOCK", 1))
    LOG.record(LOG.load("ord_1"), RecordDispatch("parcel_1", left), source="shipping")
    advance(LOG, "ord_1", "customer.cancels")
    with pytest.raises(RuntimeError, match="cancelling"):
        do_release("ord_1")
    assert level(database, "MUG-BLUE").reserved == 3

    advance(LOG, "ord_1", "shipping.handlers.recall_shipment")
    assert do_release("ord_1") == "released"
    assert LOG.history("ord_1")[-1].data == StockReleased((StockLine("MUG-BLUE", 1),))
    assert level(database, "MUG-BLUE").available == before["MUG-BLUE"].available - 2


def test_stock_of_an_order_that_is_not_failing_is_not_released(
    database: FakeDynamoDB, do_reserve: Callable[[str], str], do_release: Callable[[str], str]
) -> None:
    place(LOG)
    do_reserve("ord_1")
    before = levels(database)

    with pytest.raises(RuntimeError, match="placed"):
        do_release("ord_1")
    assert levels(database) == before


def test_released_order_is_not_reserved_again(
    database: FakeDynamoDB, do_reserve: Callable[[str], str], do_release: Callable[[str], str]
) -> None:
    place(LOG)
    do_reserve("ord_1")
    fail("ord_1")
    do_release("ord_1")

    assert do_reserve("ord_1") == "failing"
    assert level(database, "MUG-BLUE").reserved == 0


@pytest.mark.parametrize("step", ["do_reserve", "do_release"])
def test_unknown_order_is_a_fault(step: str, aws: Aws, request: pytest.FixtureRequest) -> None:
    with pytest.raises(OrderNotFound):
        request.getfixturevalue(step)("ord_none")


def test_reservation_without_events_is_a_fault(database: FakeDynamoDB, do_reserve: Callable[[str], str]) -> None:
    place(LOG)
    database.seed("Reservations", {"order_id": {"S": "ord_1"}})

    with pytest.raises(TransactionConditionFailed):
        do_reserve("ord_1")
    assert level(database, "MUG-BLUE").reserved == 0


def test_missing_reserved_stock_is_a_fault(database: FakeDynamoDB, do_release: Callable[[str], str]) -> None:
    place(LOG)
    advance(LOG, "ord_1", "inventory.handlers.reserve_stock", "orders.handlers.record_failure")

    with pytest.raises(ReservationMissing):
        do_release("ord_1")
    database.seed("Reservations", row("ord_1", {"MUG-BLUE": 2}))
    with pytest.raises(OutOfStock):
        do_release("ord_1")
    assert level(database, "MUG-BLUE").reserved == 0
    assert event_types("ord_1")[-1] == "FulfilmentFailed"


@pytest.mark.parametrize("operation", ["GetItem", "TransactWriteItems"])
def test_concurrent_releases_have_one_effect(
    operation: str, database: FakeDynamoDB, do_reserve: Callable[[str], str], do_release: Callable[[str], str]
) -> None:
    place(LOG)
    before = levels(database)
    do_reserve("ord_1")
    fail("ord_1")
    before_next(operation, lambda: do_release("ord_1"))(database)

    assert do_release("ord_1") == "released"
    assert levels(database) == before
    assert event_types("ord_1").count("StockReleased") == 1


def conflicts(times: int) -> Hook:
    left = [None] * times

    def hook(name: str, parameters: dict[str, Any]) -> None:
        if name == "TransactWriteItems" and left:
            left.pop()
            raise conflict(parameters)

    return hook


def test_conflicting_transactions_are_retried(database: FakeDynamoDB, do_reserve: Callable[[str], str]) -> None:
    place(LOG)
    database.calls.clear()
    database.before = conflicts(2)

    assert do_reserve("ord_1") == "reserved"
    assert database.calls["TransactWriteItems"] == 3


def test_persistent_transaction_conflicts_are_a_fault(database: FakeDynamoDB, do_reserve: Callable[[str], str]) -> None:
    place(LOG)
    database.before = conflicts(99)

    with pytest.raises(TransactionConflict):
        do_reserve("ord_1")
    assert event_types("ord_1") == ["OrderPlaced"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("operation", ["Query", "TransactWriteItems"])
def test_crashed_step_is_completed_by_a_retry(
    when: str,
    operation: str,
    database: FakeDynamoDB,
    do_reserve: Callable[[str], str],
    do_release: Callable[[str], str],
) -> None:
    place(LOG, lines={"MUG-BLUE": 2})
    before = levels(database)
    for step, expected in ((do_reserve, 2), (do_release, 0)):
        setattr(database, when, crash_at(operation))
        with pytest.raises(Crash):
            step("ord_1")
        setattr(database, when, None)
        step("ord_1")
        assert level(database, "MUG-BLUE").reserved == expected
        fail("ord_1")
    assert levels(database) == before
    assert event_types("ord_1") == ["OrderPlaced", "StockReserved", "FulfilmentFailed", "StockReleased"]


ORDERS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(["MUG-BLUE", "MUG-WHITE", "TRAY-BIRCH"]), st.integers(1, 4), min_size=1), st.booleans()),
    max_size=6,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["MUG-BLUE", "MUG-WHITE", "TRAY-BIRCH"]), st.integers(0, 6)), ORDERS)
def test_tables_agree_with_the_reference_model(available: dict[str, int], wanted: list[tuple[dict[str, int], bool]]) -> None:
    database = FakeDynamoDB(*TABLES)
    log, inventory = OrderLog("OrderLog", database.client), Inventory("Stock", "Reservations", "ReturnedStock", database.client)
    seed_stock(database, available)
    expected: stock_shards.Stock = levels(database)
    for number, (lines, failing) in enumerate(wanted):
        order_id = f"ord_{number}"
        order = place(log, order_id, lines=lines)
        after = stock_shards.reserved(expected, stock_lines(order))
        outcome = reservations.reserve(log, inventory, order_id)
        if isinstance(after, tuple):
            assert outcome == "out_of_stock"
            assert cast("StockReservationFailed", log.history(order_id)[-1].data).shortages == after
            continue
        assert outcome == "reserved"
        expected = after
        if failing:
            log.record(log.load(order_id), FailFulfilment("authorize", "x"), source="orders")
            assert reservations.release(log, inventory, order_id) == "released"
            expected = stock_shards.moved(expected, stock_rules.moves(Holding(stock_lines(order)), Holding()))
        assert levels(database) == expected
    assert {sku: found.available + found.reserved for sku, found in levels(database).items()} == available
