"""Stock follows an order: reservations expire, dispatched units leave, returned units are available again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orderflow.aws.order_log import OrderLog
from orderflow.domain.commands import ApproveReview, Command, RecordDelivery, RecordDispatch, RecordReturn, RequestReturn
from orderflow.domain.events import StockLine
from tests.integration.world import World, eventually

EXPENSIVE = 289_900
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def _record(world: World, order_id: str, *commands: Command) -> None:
    log = OrderLog(world.table("OrderLog"), world.dynamodb)
    for command in commands:
        log.record(log.load(order_id), command, source="shipping")


def _shipped(world: World, sku: str) -> int:
    row = world.dynamodb.get_item(TableName=world.table("Stock"), Key={"sku": {"S": sku}}, ConsistentRead=True)["Item"]
    return int(row.get("shipped", {}).get("N", 0))


def _levels(world: World, sku: str, expected: tuple[int, int, int], what: str) -> None:
    eventually(lambda: (*world.stock(sku), _shipped(world, sku)), lambda found: found == expected, within=world.patience, what=what)


def _reached(world: World, order_id: str, kind: str) -> None:
    eventually(lambda: [event.type for event in world.log(order_id)], lambda types: kind in types, within=world.patience, what=kind)


def test_expired_reservation_is_made_again_after_approval(world: World):
    customer, sku = world.customer(), world.product(stock=5, price=EXPENSIVE)
    order_id = world.buy(customer, sku)
    _reached(world, order_id, "OrderHeldForReview")
    assert world.stock(sku) == (4, 1)

    with world.configured("InventoryExpire", RESERVATION_SECONDS="0"):
        world.invoke("InventoryExpire", {})
    _levels(world, sku, (5, 0, 0), "the expired reservation")

    _record(world, order_id, ApproveReview("rex"))
    _reached(world, order_id, "OrderConfirmed")
    assert [event.type for event in world.log(order_id)].count("StockReserved") == 2
    assert world.stock(sku) == (4, 1)


def test_dispatch_and_return_update_the_stock(world: World):
    customer, sku = world.customer(), world.product(stock=10)
    order_id = world.buy(customer, sku, quantity=3)
    world.ended(customer, order_id)
    two, one = (StockLine(sku, 2),), (StockLine(sku, 1),)

    _record(world, order_id, RecordDispatch("parcel_1", two))
    _levels(world, sku, (7, 1, 2), "the first dispatch")
    _record(world, order_id, RecordDispatch("parcel_2", one), RecordDelivery("parcel_1"))
    _levels(world, sku, (7, 0, 3), "the second dispatch")
    _record(world, order_id, RequestReturn("ret_1", one, "too small", YESTERDAY), RecordReturn("ret_1"))
    _levels(world, sku, (8, 0, 2), "the return")


def test_unexplained_stock_is_reported(world: World):
    customer, sku = world.customer(), world.product(stock=10)
    world.ended(customer, world.buy(customer, sku))
    for by, least in (("2", 1), ("-2", 0)):
        world.dynamodb.update_item(
            TableName=world.table("Stock"),
            Key={"sku": {"S": sku}},
            UpdateExpression="ADD reserved :by",
            ExpressionAttributeValues={":by": {"N": by}},
        )
        assert world.invoke("InventoryReconcile", {})["differences"] >= least
