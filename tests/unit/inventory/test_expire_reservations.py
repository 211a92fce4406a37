"""Expiry: reserved stock of active orders is available again, and confirmed orders keep theirs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from inventory import expiry, reservations
from inventory.dependencies import INVENTORY, LOG
from inventory.domain.stock_rules import Level
from inventory.handlers import expire_reservations
from orderflow.aws import dynamodb
from orderflow.domain.events import ReservationExpired, StockLine
from tests.conftest import Aws
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, crash_at
from tests.support.prepared import SAGA_STEPS, advance
from tests.support.samples import expected, names, sample
from tests.support.stock_shards import levels
from tests.support.stocked_orders import LONG_AGO, mug_level, place_and_advance, seeded_stock, types


@pytest.fixture
def run(context: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the schedule with this reservation time."""

    def once(reservation_time: timedelta = timedelta(days=-1)) -> dict[str, Any]:
        monkeypatch.setattr(expire_reservations, "RESERVATION_TIME", reservation_time)
        return expire_reservations.handler({}, context)

    return once


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
