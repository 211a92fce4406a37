"""Fulfilment recovers when the saga runs twice, never starts, loses a worker, or its compensation fails."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from devtools.local import emulator
from devtools.ops import function_logs
from tests.integration.world import BESIDE, World, eventually, order_types

AGES_AGO = timedelta(days=1)
AGAIN = 3


class Abandoned(NamedTuple):
    """An order whose stock cannot be released, because its stock row is deleted."""

    customer: str
    sku: str
    order_id: str
    stock_row: dict[str, Any]


@pytest.fixture(scope="module")
def abandoned(world: World) -> Abandoned:
    """An abandoned order."""
    customer, sku = world.customer(), world.product()
    order_id = world.buy(customer, sku, payment="tok_unavailable")
    eventually(lambda: world.stock(sku), lambda found: found == (99, 1), within=world.patience, what="the reservation")
    stock_row = world.dynamodb.delete_item(TableName=world.table("Stock"), Key={"sku": {"S": sku}}, ReturnValues="ALL_OLD")
    return Abandoned(customer, sku, order_id, stock_row["Attributes"])


@pytest.fixture(scope="module", autouse=True)
def _begin(world: World, request: pytest.FixtureRequest) -> None:
    # Its saga retries for most of a minute, so it starts before the first test.
    if not world.lacks("isolated-transactions"):
        request.getfixturevalue("abandoned")


def _age(world: World, order_id: str) -> None:
    """Make an active order look stuck for a day."""
    world.dynamodb.update_item(
        TableName=world.table("OrderLog"),
        Key={"order_id": {"S": order_id}, "version": {"N": "1"}},
        UpdateExpression="SET open_since = :since",
        ConditionExpression="attribute_exists(open_shard)",
        ExpressionAttributeValues={":since": {"S": f"{datetime.now(UTC) - AGES_AGO:%Y-%m-%dT%H:%M:%S.%fZ}"}},
    )


def test_saga_run_again_for_an_ended_order_changes_nothing(world: World):
    customer, sku = world.customer(), world.product()
    order_id = world.buy(customer, sku)
    world.ended(customer, order_id)
    before, emails = _by_the_saga(world, order_id), world.mails(order_id)

    for _ in range(AGAIN):
        world.run_saga(order_id)
    eventually(lambda: _reservations_tried(world, order_id), lambda tried: tried == 1 + AGAIN, within=world.patience, what="the sagas ran")
    world.queue_drained("MailQueue")

    assert _by_the_saga(world, order_id) == before
    assert world.mails(order_id) == emails
    assert world.stock(sku) == (99, 1)
    assert len(world.charges(order_id)) == 1


def _by_the_saga(world: World, order_id: str) -> list[str]:
    return [event.event_id for event in world.log(order_id) if event.type not in BESIDE]


def _reservations_tried(world: World, order_id: str) -> int:
    """How often the saga's first step finished for an order."""
    lines = function_logs.read(world.target, [world.target.resources["InventoryReserve"]])
    return sum(line.fields.get("order_id") == order_id and line.fields.get("message") == "done" for line in lines)


@pytest.mark.needs("isolated-transactions")
@pytest.mark.parametrize(
    ("payment", "outcome", "left"), [("tok_slow", "confirmed", (98, 2)), ("tok_declined", "rejected: payment_declined", (100, 0))]
)
def test_concurrent_sagas_of_one_order_have_one_effect(world: World, payment: str, outcome: str, left: tuple[int, int]):
    customer, sku = world.customer(), world.product()
    order_id = world.buy(customer, sku, 2, payment=payment)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: world.run_saga(order_id), range(4)))

    assert world.outcome(customer, order_id) == outcome
    history = order_types(world.ended(customer, order_id))
    assert len(set(history)) == len(history)
    assert world.stock(sku) == left
    assert len(world.charges(order_id)) == (outcome == "confirmed")
    assert len(world.mails(order_id)) == 1


def test_recovery_runs_the_saga_of_a_stuck_order(world: World):
    customer, sku = world.customer(), world.product()
    with world.sagas_not_started():
        order_id = world.buy(customer, sku)
        _age(world, order_id)
        recovered_at = datetime.now(UTC)

        world.invoke("OperationsRecover", {})

        assert world.outcome(customer, order_id) == "confirmed"
    assert world.log(order_id)[1].occurred_at >= recovered_at
    assert world.stock(sku) == (99, 1)
    assert len(world.charges(order_id)) == 1


def test_ended_order_leaves_the_active_order_index(world: World):
    customer = world.customer()
    order_id = world.buy(customer, world.product())
    world.ended(customer, order_id)

    key = {"order_id": {"S": order_id}, "version": {"N": "1"}}

    def markers() -> set[str]:
        first = world.dynamodb.get_item(TableName=world.table("OrderLog"), Key=key, ConsistentRead=True)["Item"]
        return {"open_shard", "open_since"} & first.keys()

    eventually(markers, lambda found: not found, within=world.patience, what="the marker is cleared")


@pytest.mark.needs("worker-processes")
@pytest.mark.parametrize(("step", "waits_for"), [("PaymentsAuthorize", "OrderScreened"), ("OrdersConfirm", "PaymentAuthorized")])
def test_order_completes_after_a_worker_is_killed(world: World, step: str, waits_for: str):
    customer, sku = world.customer(), world.product()
    # Workers of earlier orders are warm, so there is one to kill at once.
    world.ended(customer, world.buy(customer, sku))
    order_id = world.buy(customer, sku, payment="tok_slow")
    eventually(
        lambda: [event.type for event in world.log(order_id)], lambda types: waits_for in types, within=world.patience, what=waits_for
    )

    killed = _kill_workers(world, step)

    assert killed
    assert world.outcome(customer, order_id, within=world.patience + 30) == "confirmed"
    assert len(world.charges(order_id)) == 1
    assert world.stock(sku) == (98, 2)
    assert len(world.mails(order_id)) == 1


@pytest.mark.needs("worker-processes")
def test_worker_killed_after_the_charge_charges_once(world: World):
    customer, sku = world.customer(), world.product()
    world.ended(customer, world.buy(customer, sku))
    order_id = world.buy(customer, sku, payment="tok_slow")
    eventually(lambda: world.charges(order_id), within=world.patience, what="the charge")

    _kill_workers(world, "PaymentsAuthorize")

    assert world.outcome(customer, order_id, within=world.patience + 30) == "confirmed"
    assert len(world.charges(order_id)) == 1


def _kill_workers(world: World, function: str) -> list[int]:
    """Kill the processes of a function among the children of the emulator that the suite started, and return their ids."""
    instance = emulator.running(world.target.port)
    assert instance
    name = world.target.resources[function]
    table = subprocess.run(["ps", "-Awwo", "pid=,ppid=,command="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in table.splitlines()]
    workers = [int(pid) for pid, parent, command in rows if int(parent) == instance.pid and f"-{name}-" in command]
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    return workers


@pytest.mark.needs("isolated-transactions")
def test_failing_compensation_goes_to_the_operations_queue(world: World, abandoned: Abandoned):
    order_id = abandoned.order_id
    eventually(
        lambda: any(order_id in body for body in world.waiting("OperationsQueue")),
        within=world.patience + 120,
        what="the order is on the operations queue",
    )
    assert world.shop.order(abandoned.customer, order_id).json()["state"] == "placed"

    world.dynamodb.put_item(TableName=world.table("Stock"), Item=abandoned.stock_row)
    world.invoke("OperationsRedrive", {"queue": "operations", "max": 100})

    assert world.outcome(abandoned.customer, order_id) == "rejected: fulfilment_failed"
    assert world.stock(abandoned.sku) == (100, 0)
    assert world.charges(order_id) == []
