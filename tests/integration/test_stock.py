"""Stock follows an order: reservations expire, dispatched units leave, returned units are available again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orderflow.aws.order_log import OrderLog
from orderflow.domain.commands import ApproveReview, Command, RecordDelivery, RecordDispatch, RecordReturn, RequestReturn
from orderflow.domain.events import StockLine
from tests.integration.deployed_stack import DeployedStack, eventually

EXPENSIVE = 289_900
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def _record(stack: DeployedStack, order_id: str, *commands: Command) -> None:
    log = OrderLog(stack.table("OrderLog"), stack.dynamodb)
    for command in commands:
        log.record(log.load(order_id), command, source="shipping")


def _shipped(stack: DeployedStack, sku: str) -> int:
    row = stack.dynamodb.get_item(TableName=stack.table("Stock"), Key={"sku": {"S": sku}}, ConsistentRead=True)["Item"]
    return int(row.get("shipped", {}).get("N", 0))


def _levels(stack: DeployedStack, sku: str, expected: tuple[int, int, int], what: str) -> None:
    eventually(lambda: (*stack.stock(sku), _shipped(stack, sku)), lambda found: found == expected, within=stack.patience, what=what)


def _reached(stack: DeployedStack, order_id: str, kind: str) -> None:
    eventually(lambda: [event.type for event in stack.log(order_id)], lambda types: kind in types, within=stack.patience, what=kind)


def test_expired_reservation_is_repeated_after_approval(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product(stock=5, price=EXPENSIVE)
    order_id = stack.buy(customer, sku)
    _reached(stack, order_id, "OrderHeldForReview")
    assert stack.stock(sku) == (4, 1)

    with stack.configured("InventoryExpire", RESERVATION_SECONDS="0"):
        stack.invoke("InventoryExpire", {})
    _levels(stack, sku, (5, 0, 0), "the expired reservation")

    _record(stack, order_id, ApproveReview("rex"))
    _reached(stack, order_id, "OrderConfirmed")
    assert [event.type for event in stack.log(order_id)].count("StockReserved") == 2
    assert stack.stock(sku) == (4, 1)


def test_dispatch_and_return_update_the_stock(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product(stock=10)
    order_id = stack.buy(customer, sku, quantity=3)
    stack.ended(customer, order_id)
    two, one = (StockLine(sku, 2),), (StockLine(sku, 1),)

    _record(stack, order_id, RecordDispatch("parcel_1", two))
    _levels(stack, sku, (7, 1, 2), "the first dispatch")
    _record(stack, order_id, RecordDispatch("parcel_2", one), RecordDelivery("parcel_1"))
    _levels(stack, sku, (7, 0, 3), "the second dispatch")
    _record(stack, order_id, RequestReturn("ret_1", one, "too small", YESTERDAY), RecordReturn("ret_1"))
    _levels(stack, sku, (8, 0, 2), "the return")


def test_unexplained_stock_is_reported(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product(stock=10)
    stack.ended(customer, stack.buy(customer, sku))
    for by, least in (("2", 1), ("-2", 0)):
        stack.dynamodb.update_item(
            TableName=stack.table("Stock"),
            Key={"sku": {"S": sku}},
            UpdateExpression="ADD reserved :by",
            ExpressionAttributeValues={":by": {"N": by}},
        )
        assert stack.invoke("InventoryReconcile", {})["differences"] >= least
