"""Reconciliation reports unexplained stock and repairs differences that the log explains."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inventory import reconciliation, reservations
from inventory.dependencies import INVENTORY, LOG
from inventory.handlers import reconcile_stock
from inventory.reconciliation import NotReconciled
from inventory.store import Reservation
from orderflow.domain.commands import RecordDispatch, RecordShipment
from orderflow.domain.events import StockLine
from tests.conftest import Aws
from tests.fakes.aws.dynamodb import FakeDynamoDB
from tests.support import measured
from tests.support.prepared import SAGA_STEPS, advance, place
from tests.support.samples import expected, names, sample


@pytest.fixture
def database(aws: Aws) -> FakeDynamoDB:
    aws.dynamodb.seed("Stock", {"sku": {"S": "MUG-BLUE"}, "available": {"N": "50"}, "reserved": {"N": "0"}})
    return aws.dynamodb


@pytest.fixture
def run(context: Any) -> Callable[[], dict[str, Any]]:
    return lambda: reconcile_stock.handler({}, context)


def confirmed(order_id: str) -> None:
    place(LOG, order_id, lines={"MUG-BLUE": 2})
    advance(
        LOG, order_id, *SAGA_STEPS, real_steps={"inventory.handlers.reserve_stock": lambda one: reservations.reserve(LOG, INVENTORY, one)}
    )


def dispatched(order_id: str) -> None:
    """Dispatch a parcel whose event reaches no consumer."""
    confirmed(order_id)
    for command in (RecordShipment("ship_1"), RecordDispatch("parcel_1", (StockLine("MUG-BLUE", 1),))):
        LOG.record(LOG.load(order_id), command, source="tests")


def change(database: FakeDynamoDB, reserved: int) -> None:
    """Change the reserved stock without an event, as an operator can."""
    database.client.update_item(
        TableName="Stock",
        Key={"sku": {"S": "MUG-BLUE"}},
        UpdateExpression="ADD reserved :by",
        ExpressionAttributeValues={":by": {"N": str(reserved)}},
    )


def stock(database: FakeDynamoDB) -> tuple[int, ...]:
    [row] = database.items("Stock")
    return tuple(int(row.get(part, {}).get("N", 0)) for part in ("available", "reserved", "shipped"))


def metric(lines: str, name: str) -> list[float]:
    return measured.values(lines).get(name, [])


@pytest.mark.parametrize("name", names("inventory/reconcile_stock"))
def test_every_sample_has_its_answer(name: str, aws: Aws, context: Any) -> None:
    assert reconcile_stock.handler(sample(name), context).items() >= expected(name).items()


def test_received_product_without_orders_is_no_difference(database: FakeDynamoDB, run: Callable[[], dict[str, Any]]) -> None:
    # The update by which docs/operations.md receives goods, for a product without a row.
    database.client.update_item(
        TableName="Stock",
        Key={"sku": {"S": "MUG-NEW"}},
        UpdateExpression="ADD available :by",
        ExpressionAttributeValues={":by": {"N": "12"}},
    )
    confirmed("ord_1")
    assert run()["differences"] == 0


def test_matching_tables_are_unchanged(
    database: FakeDynamoDB, run: Callable[[], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        confirmed(f"ord_{number}")
    database.calls.clear()

    assert run() == {"outcome": "reconciled", "differences": 0, "looked_at": 3, "repaired": 0}
    assert set(database.calls) == {"Scan", "Query", "GetItem"}
    assert metric(capsys.readouterr().out, "StockDifferences") == []


def test_unknown_parcel_is_synced(database: FakeDynamoDB, run: Callable[[], dict[str, Any]]) -> None:
    confirmed("ord_1")
    dispatched("ord_2")

    assert run()["repaired"] == 1
    assert stock(database) == (46, 3, 1)
    assert run()["repaired"] == 0


@pytest.mark.parametrize("by", [2, -1])
def test_unexplained_stock_is_reported_and_unchanged(
    by: int,
    database: FakeDynamoDB,
    run: Callable[[], dict[str, Any]],
    logged: Callable[[], list[dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    confirmed("ord_1")
    change(database, by)

    assert run()["differences"] == 1
    assert stock(database) == (48, 2 + by, 0)
    [line] = [line for line in logged() if line["level"] == "ERROR"]
    assert (line["sku"], line["reserved_too_much"]) == ("MUG-BLUE", by)
    assert metric(capsys.readouterr().out, "StockDifferences") == [1]


def test_reservation_during_the_comparison_is_no_difference(database: FakeDynamoDB, run: Callable[[], dict[str, Any]]) -> None:
    confirmed("ord_1")

    def reserve_another(name: str, _: dict[str, Any]) -> None:
        if name == "Scan":
            database.before = None
            confirmed("ord_2")

    database.before = reserve_another
    assert run()["differences"] == 0


def test_failing_comparison_does_not_stop_the_others(database: FakeDynamoDB, run: Callable[[], dict[str, Any]]) -> None:
    dispatched("ord_1")
    reservation = {"reserved_at": {"S": "2026-01-15T10:30:00.000000Z"}, "lines": {"L": []}}
    database.seed("Reservations", {"order_id": {"S": "ord_none"}, **reservation})

    with pytest.raises(NotReconciled, match="1 of 2"):
        run()
    assert stock(database) == (48, 1, 1)


def test_run_is_bounded_and_starts_with_differing_stock(database: FakeDynamoDB) -> None:
    database.seed("Stock", {"sku": {"S": "TRAY-BIRCH"}, "available": {"N": "5"}, "reserved": {"N": "1"}})
    for number in range(5):
        confirmed(f"ord_{number}")
    change(database, 1)
    place(LOG, "ord_tray", lines={"TRAY-BIRCH": 1})

    done = reconciliation.reconcile(LOG, INVENTORY, most=2)

    assert (dict(done.differences), done.checked) == ({"MUG-BLUE": 1, "TRAY-BIRCH": 1}, 2)


class Endless:
    """An inventory with more reservations than fit into memory."""

    def __init__(self, reservations: int) -> None:
        self.reservations = reservations

    @property
    def shards(self) -> Endless:
        return self

    def reserved(self) -> dict[str, int]:
        return {"MUG-BLUE": self.reservations + 1}

    def all_reservations(self) -> Iterator[Reservation]:
        for number in range(self.reservations):
            yield Reservation(f"ord_{number}", (StockLine("MUG-BLUE", 1),))


def test_reservations_are_streamed_in_bounded_memory(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory: Any = Endless(100_000)
    monkeypatch.setattr(reservations, "sync_stock", lambda *_: "unchanged")
    tracemalloc.start()
    done = reconciliation.reconcile(LOG, inventory, most=10)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (dict(done.differences), done.checked) == ({"MUG-BLUE": 1}, 10)
    assert most < 1_000_000


def test_run_without_time_left_fails_with_advice(database: FakeDynamoDB) -> None:
    confirmed("ord_1")
    with pytest.raises(NotReconciled, match="increase its MemorySize"):
        reconciliation.reconcile(LOG, INVENTORY, has_time=lambda: False)


def test_sample_of_orders_is_uniform() -> None:
    chosen = Counter[str]()
    random.seed(7)
    for _ in range(2000):
        sample = reconciliation._Sample(2)
        for number in range(5):
            sample.add(Reservation(f"ord_{number}", ()))
        chosen.update(sample.chosen)
    assert all(abs(times - 800) < 120 for times in chosen.values())
    assert len(chosen) == 5
