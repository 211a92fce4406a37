"""Recovery restarts the sagas of stuck orders, even if many of them cannot be restarted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from operations import order_recovery
from operations.handlers import recover_orders
from orderflow.aws.active_orders import ActiveOrder
from orderflow.aws.dynamodb import timestamp
from orderflow.aws.order_log_items import active_shard
from orderflow.domain.commands import FailFulfilment, RequestCancellation
from tests.conftest import Aws
from tests.fakes.aws.dynamodb import Crash, Hook, crash_at, throttled
from tests.support import measured
from tests.support.prepared import advance, place

EVENTS = Path(__file__).resolve().parents[3] / "events" / "operations" / "recover_orders"
SAMPLES = sorted(path.stem for path in EVENTS.glob("*.json") if not path.stem.endswith(".answer"))
LONG = timedelta(hours=1)


@pytest.fixture
def run(aws: Aws, context: Any) -> Callable[[], dict[str, Any]]:
    return lambda: recover_orders.handler({}, context)


def stuck_order(aws: Aws, order_id: str, *steps: str, since: timedelta = LONG) -> None:
    """Place an order that has been active for `since`."""
    place(recover_orders.LOG, order_id)
    advance(recover_orders.LOG, order_id, *steps)
    age_marker(aws, order_id, since)


def confirm_with_marker(aws: Aws) -> None:
    """Confirm an order whose marker could not be cleared, long ago."""
    place(recover_orders.LOG, "ord_1")
    aws.dynamodb.before = failing("UpdateItem")
    advance(
        recover_orders.LOG,
        "ord_1",
        "inventory.handlers.reserve_stock",
        "fraud.handlers.screen_order",
        "payments.handlers.authorize_payment",
        "orders.handlers.confirm_order",
    )
    aws.dynamodb.before = None
    age_marker(aws, "ord_1")


def failing(operation: str) -> Hook:
    """Return a hook that throttles every call of an operation."""

    def hook(name: str, _parameters: dict[str, Any]) -> None:
        if name == operation:
            raise throttled(operation)

    return hook


def age_marker(aws: Aws, order_id: str, since: timedelta = LONG) -> None:
    aws.dynamodb.client.update_item(
        TableName="OrderLog",
        Key={"order_id": {"S": order_id}, "version": {"N": "1"}},
        UpdateExpression="SET open_since = :since",
        ConditionExpression="attribute_exists(open_since)",
        ExpressionAttributeValues={":since": {"S": timestamp(datetime.now(UTC) - since)}},
    )


def damage(aws: Aws, order_id: str) -> None:
    aws.dynamodb.client.update_item(
        TableName="OrderLog",
        Key={"order_id": {"S": order_id}, "version": {"N": "1"}},
        UpdateExpression="SET #event = :garbage",
        ExpressionAttributeNames={"#event": "event"},
        ExpressionAttributeValues={":garbage": {"S": "{"}},
    )


def started(aws: Aws) -> list[str]:
    return [execution["order_id"] for execution in aws.stepfunctions.started]


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_have_their_documented_answers(name: str, aws: Aws, context: Any) -> None:
    stuck_order(aws, "ord_1")
    event = json.loads((EVENTS / f"{name}.json").read_text())
    expected = json.loads((EVENTS / f"{name}.answer.json").read_text())

    assert expected.items() <= recover_orders.handler(event, context).items()


def test_only_stuck_orders_are_restarted_oldest_first(aws: Aws, run: Callable[[], dict[str, Any]]) -> None:
    stuck_order(aws, "ord_old", since=timedelta(minutes=6))
    stuck_order(aws, "ord_older", "inventory.handlers.reserve_stock", "orders.handlers.record_failure", since=timedelta(days=2))
    stuck_order(aws, "ord_recent", since=timedelta(minutes=4))

    assert run() == {"outcome": "swept", "open": 3, "stuck": 2, "run": 2}
    assert started(aws) == ["ord_older", "ord_old"]


def test_saga_input_has_correlation_id_and_last_event_of_the_order(aws: Aws, run: Callable[[], dict[str, Any]]) -> None:
    stuck_order(aws, "ord_1", "inventory.handlers.reserve_stock")

    run()

    assert aws.stepfunctions.started == [{"order_id": "ord_1", "correlation_id": "correlation-1", "event_id": "ord_1:2"}]


def test_stuck_orders_of_every_index_shard_are_found(aws: Aws, run: Callable[[], dict[str, Any]]) -> None:
    orders = {active_shard(f"ord_{number}"): f"ord_{number}" for number in range(200)}
    assert len(orders) == 8
    for order_id in orders.values():
        stuck_order(aws, order_id)

    run()

    assert sorted(started(aws)) == sorted(orders.values())


def test_finished_and_held_orders_are_not_restarted(aws: Aws, run: Callable[[], dict[str, Any]]) -> None:
    place(recover_orders.LOG, "ord_held", lines={"ESPRESSO-PRO": 1})
    advance(recover_orders.LOG, "ord_held", "inventory.handlers.reserve_stock", "fraud.handlers.screen_order")
    place(recover_orders.LOG, "ord_confirmed")
    advance(
        recover_orders.LOG,
        "ord_confirmed",
        "inventory.handlers.reserve_stock",
        "fraud.handlers.screen_order",
        "payments.handlers.authorize_payment",
        "orders.handlers.confirm_order",
    )

    assert run() == {"outcome": "swept", "open": 0, "stuck": 0, "run": 0}


def test_order_finished_after_the_index_read_is_not_restarted(aws: Aws) -> None:
    place(recover_orders.LOG, "ord_1")
    advance(
        recover_orders.LOG,
        "ord_1",
        "inventory.handlers.reserve_stock",
        "fraud.handlers.screen_order",
        "payments.handlers.authorize_payment",
        "orders.handlers.confirm_order",
    )
    now = datetime.now(UTC)

    done = order_recovery.recover(
        recover_orders.LOG, recover_orders.SAGA, [ActiveOrder("ord_1", now - LONG)], now=now, stuck_after=timedelta(minutes=5)
    )

    assert (done.stuck, done.started, done.failed) == (1, 0, 0)
    assert started(aws) == []


@pytest.mark.parametrize(
    ("steps", "marker_shard"),
    [
        (
            (
                "inventory.handlers.reserve_stock",
                "fraud.handlers.screen_order",
                "payments.handlers.authorize_payment",
                "orders.handlers.confirm_order",
            ),
            None,
        ),
        (("orders.handlers.record_failure", "orders.handlers.finalize_order"), None),
        (("inventory.handlers.reserve_stock", "fraud.handlers.screen_order"), active_shard("ord_1", "held")),
    ],
)
def test_marker_of_a_crashed_writer_is_repaired(
    aws: Aws, run: Callable[[], dict[str, Any]], steps: tuple[str, ...], marker_shard: str | None
) -> None:
    *before, last = steps
    place(recover_orders.LOG, "ord_1", lines={"ESPRESSO-PRO" if marker_shard else "MUG-BLUE": 1})
    advance(recover_orders.LOG, "ord_1", *before)
    aws.dynamodb.before = crash_at("UpdateItem")
    with pytest.raises(Crash):
        advance(recover_orders.LOG, "ord_1", last)
    aws.dynamodb.before = None
    age_marker(aws, "ord_1")

    assert run() == {"outcome": "swept", "open": 1, "stuck": 1, "run": 0}

    assert started(aws) == []
    assert aws.dynamodb.items("OrderLog")[0].get("open_shard", {}).get("S") == marker_shard
    assert run() == {"outcome": "swept", "open": 0, "stuck": 0, "run": 0}


def test_unrepairable_marker_fails_the_run_and_is_retried(
    aws: Aws, run: Callable[[], dict[str, Any]], logged: Callable[[], list[dict[str, Any]]]
) -> None:
    confirm_with_marker(aws)
    aws.dynamodb.before = failing("UpdateItem")

    with pytest.raises(order_recovery.SagasNotStarted):
        run()

    assert [line["order_id"] for line in logged() if line["message"] == "saga_not_restarted"] == ["ord_1"]
    aws.dynamodb.before = None
    assert run()["stuck"] == 1
    assert run()["stuck"] == 0


def test_order_cancelled_during_marker_repair_is_restarted(aws: Aws, run: Callable[[], dict[str, Any]]) -> None:
    confirm_with_marker(aws)

    def cancelled_first(operation: str, _parameters: dict[str, Any]) -> None:
        if operation == "UpdateItem":
            aws.dynamodb.before = None
            recover_orders.LOG.record(recover_orders.LOG.load("ord_1"), RequestCancellation("customer", "x"), source="orders")

    aws.dynamodb.before = cancelled_first
    assert run()["run"] == 0
    age_marker(aws, "ord_1")
    assert run()["run"] == 1


def test_failed_order_does_not_block_others_but_fails_the_run(
    aws: Aws, run: Callable[[], dict[str, Any]], logged: Callable[[], list[dict[str, Any]]]
) -> None:
    stuck_order(aws, "ord_bad", since=timedelta(days=1))
    damage(aws, "ord_bad")
    stuck_order(aws, "ord_good")

    with pytest.raises(order_recovery.SagasNotStarted, match="1 of 2"):
        run()

    assert started(aws) == ["ord_good"]
    assert [line["order_id"] for line in logged() if line["message"] == "saga_not_restarted"] == ["ord_bad"]


def test_throttled_execution_is_counted_and_retried(aws: Aws, run: Callable[[], dict[str, Any]]) -> None:
    stuck_order(aws, "ord_first", since=timedelta(days=1))
    stuck_order(aws, "ord_second")
    failing = [throttled("StartExecution")]

    def hook(_operation: str, _parameters: dict[str, Any]) -> None:
        if failing:
            raise failing.pop()

    aws.stepfunctions.before = hook
    with pytest.raises(order_recovery.SagasNotStarted):
        run()
    assert started(aws) == ["ord_second"]

    aws.stepfunctions.started.clear()
    assert run()["run"] == 2


def test_bounded_runs_reach_every_stuck_order(aws: Aws) -> None:
    now = datetime.now(UTC)
    active_orders = [ActiveOrder(f"ord_{number}", now - LONG) for number in range(6)]
    for order in active_orders:
        stuck_order(aws, order.order_id)

    for _ in range(50):
        done = order_recovery.recover(
            recover_orders.LOG, recover_orders.SAGA, active_orders, now=now, stuck_after=timedelta(minutes=5), most=2
        )
        assert (done.stuck, done.started) == (6, 2)

    assert len(set(started(aws))) == 6


def test_metrics_count_active_orders_and_the_oldest_age(
    aws: Aws, run: Callable[[], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    stuck_order(aws, "ord_1", since=timedelta(minutes=1))
    stuck_order(aws, "ord_2", "inventory.handlers.reserve_stock", since=timedelta(seconds=90))
    fail = FailFulfilment("screen", "x")
    recover_orders.LOG.record(recover_orders.LOG.load("ord_2"), fail, source="orders")

    run()

    found = measured.values(capsys.readouterr().out)
    assert found["OpenOrders"] == [2]
    assert 90 <= found["OldestOpenOrderSeconds"][0] < 100
