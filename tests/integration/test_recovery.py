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
from tests.integration.deployed_stack import NOT_OF_THE_SAGA, DeployedStack, eventually, order_types

LONG_AGO = timedelta(days=1)
AGAIN = 3


class Abandoned(NamedTuple):
    """An order whose stock cannot be released, because its stock row is deleted."""

    customer: str
    sku: str
    order_id: str
    stock_row: dict[str, Any]


@pytest.fixture(scope="module")
def abandoned(stack: DeployedStack) -> Abandoned:
    """An abandoned order."""
    customer, sku = stack.customer(), stack.product()
    order_id = stack.buy(customer, sku, payment="tok_unavailable")
    eventually(lambda: stack.stock(sku), lambda found: found == (99, 1), within=stack.patience, what="the reservation")
    stock_row = stack.dynamodb.delete_item(TableName=stack.table("Stock"), Key={"sku": {"S": sku}}, ReturnValues="ALL_OLD")
    return Abandoned(customer, sku, order_id, stock_row["Attributes"])


@pytest.fixture(scope="module", autouse=True)
def _begin(stack: DeployedStack, request: pytest.FixtureRequest) -> None:
    # The saga retries for most of a minute, so it starts before the first test.
    if not stack.lacks("isolated-transactions"):
        request.getfixturevalue("abandoned")


def _age(stack: DeployedStack, order_id: str) -> None:
    """Make an active order look stuck for a day."""
    stack.dynamodb.update_item(
        TableName=stack.table("OrderLog"),
        Key={"order_id": {"S": order_id}, "version": {"N": "1"}},
        UpdateExpression="SET open_since = :since",
        ConditionExpression="attribute_exists(open_shard)",
        ExpressionAttributeValues={":since": {"S": f"{datetime.now(UTC) - LONG_AGO:%Y-%m-%dT%H:%M:%S.%fZ}"}},
    )


def test_saga_run_again_for_an_ended_order_changes_nothing(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product()
    order_id = stack.buy(customer, sku)
    stack.ended(customer, order_id)
    before, emails = _by_the_saga(stack, order_id), stack.emails(order_id)

    for _ in range(AGAIN):
        stack.run_saga(order_id)
    eventually(lambda: _reservations_tried(stack, order_id), lambda tried: tried == 1 + AGAIN, within=stack.patience, what="the sagas ran")
    stack.queue_drained("MailQueue")

    assert _by_the_saga(stack, order_id) == before
    assert stack.emails(order_id) == emails
    assert stack.stock(sku) == (99, 1)
    assert len(stack.charges(order_id)) == 1


def _by_the_saga(stack: DeployedStack, order_id: str) -> list[str]:
    return [event.event_id for event in stack.log(order_id) if event.type not in NOT_OF_THE_SAGA]


def _reservations_tried(stack: DeployedStack, order_id: str) -> int:
    """Return how often the saga's first step finished for an order."""
    lines = function_logs.read(stack.target, [stack.target.resources["InventoryReserve"]])
    return sum(line.fields.get("order_id") == order_id and line.fields.get("message") == "done" for line in lines)


@pytest.mark.needs("isolated-transactions")
@pytest.mark.parametrize(
    ("payment", "outcome", "left"), [("tok_slow", "confirmed", (98, 2)), ("tok_declined", "rejected: payment_declined", (100, 0))]
)
def test_concurrent_sagas_of_one_order_have_one_effect(stack: DeployedStack, payment: str, outcome: str, left: tuple[int, int]):
    customer, sku = stack.customer(), stack.product()
    order_id = stack.buy(customer, sku, 2, payment=payment)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: stack.run_saga(order_id), range(4)))

    assert stack.outcome(customer, order_id) == outcome
    history = order_types(stack.ended(customer, order_id))
    assert len(set(history)) == len(history)
    assert stack.stock(sku) == left
    assert len(stack.charges(order_id)) == (outcome == "confirmed")
    assert len(stack.emails(order_id)) == 1


def test_recovery_runs_the_saga_of_a_stuck_order(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product()
    with stack.sagas_not_started():
        order_id = stack.buy(customer, sku)
        _age(stack, order_id)
        recovered_at = datetime.now(UTC)

        stack.invoke("OperationsRecover", {})

        assert stack.outcome(customer, order_id) == "confirmed"
    assert stack.log(order_id)[1].occurred_at >= recovered_at
    assert stack.stock(sku) == (99, 1)
    assert len(stack.charges(order_id)) == 1


def test_ended_order_leaves_the_active_order_index(stack: DeployedStack):
    customer = stack.customer()
    order_id = stack.buy(customer, stack.product())
    stack.ended(customer, order_id)

    key = {"order_id": {"S": order_id}, "version": {"N": "1"}}

    def markers() -> set[str]:
        first = stack.dynamodb.get_item(TableName=stack.table("OrderLog"), Key=key, ConsistentRead=True)["Item"]
        return {"open_shard", "open_since"} & first.keys()

    eventually(markers, lambda found: not found, within=stack.patience, what="the marker is cleared")


@pytest.mark.needs("worker-processes")
@pytest.mark.parametrize(("step", "waits_for"), [("PaymentsAuthorize", "OrderScreened"), ("OrdersConfirm", "PaymentAuthorized")])
def test_order_completes_after_a_worker_is_killed(stack: DeployedStack, step: str, waits_for: str):
    customer, sku = stack.customer(), stack.product()
    # Workers of earlier orders are warm, so there is one to kill at once.
    stack.ended(customer, stack.buy(customer, sku))
    order_id = stack.buy(customer, sku, payment="tok_slow")
    eventually(
        lambda: [event.type for event in stack.log(order_id)], lambda types: waits_for in types, within=stack.patience, what=waits_for
    )

    killed = _kill_workers(stack, step)

    assert killed
    assert stack.outcome(customer, order_id, within=stack.patience + 30) == "confirmed"
    assert len(stack.charges(order_id)) == 1
    assert stack.stock(sku) == (98, 2)
    assert len(stack.emails(order_id)) == 1


@pytest.mark.needs("worker-processes")
def test_worker_killed_after_the_charge_charges_once(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product()
    stack.ended(customer, stack.buy(customer, sku))
    order_id = stack.buy(customer, sku, payment="tok_slow")
    eventually(lambda: stack.charges(order_id), within=stack.patience, what="the charge")

    _kill_workers(stack, "PaymentsAuthorize")

    assert stack.outcome(customer, order_id, within=stack.patience + 30) == "confirmed"
    assert len(stack.charges(order_id)) == 1


def _kill_workers(stack: DeployedStack, function: str) -> list[str]:
    """Kill the workers of a function, and return their ids: processes that the emulator started, or containers of LocalStack."""
    name = stack.target.resources[function]
    return _kill_containers(name) if stack.target.backend == "localstack" else _kill_processes(stack, name)


def _kill_processes(stack: DeployedStack, name: str) -> list[str]:
    instance = emulator.running(stack.target.port)
    assert instance
    table = subprocess.run(["ps", "-Awwo", "pid=,ppid=,command="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in table.splitlines()]
    workers = [pid for pid, parent, command in rows if int(parent) == instance.pid and f"-{name}-" in command]
    for pid in workers:
        os.kill(int(pid), signal.SIGKILL)
    return workers


def _kill_containers(name: str) -> list[str]:
    running = ["docker", "ps", "--quiet", "--filter", f"name=-lambda-{name}-[0-9a-f]+$"]
    workers = subprocess.run(running, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["docker", "kill", *workers], capture_output=True, check=bool(workers))
    return workers


@pytest.mark.needs("isolated-transactions")
def test_failing_compensation_goes_to_the_operations_queue(stack: DeployedStack, abandoned: Abandoned):
    order_id = abandoned.order_id
    eventually(
        lambda: any(order_id in body for body in stack.peek("OperationsQueue")),
        within=stack.patience + 120,
        what="the order is on the operations queue",
    )
    assert stack.shop.order(abandoned.customer, order_id).json()["state"] == "placed"

    stack.dynamodb.put_item(TableName=stack.table("Stock"), Item=abandoned.stock_row)
    stack.invoke("OperationsRedrive", {"queue": "operations", "max": 100})

    assert stack.outcome(abandoned.customer, order_id) == "rejected: fulfilment_failed"
    assert stack.stock(abandoned.sku) == (100, 0)
    assert stack.charges(order_id) == []
