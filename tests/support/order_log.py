"""Writes a test order to the order log."""

from __future__ import annotations

from typing import Any

from orderflow.aws.order_log import OrderLog
from orderflow.domain import events
from orderflow.domain.commands import Command
from orderflow.domain.order import Order
from tests.fakes.aws.dynamodb import FakeDynamoDB
from tests.support import orders
from tests.support.orders import ORDER_ID


def place(orderlog: OrderLog, *extra_writes: Any, fingerprint: str = "f1") -> events.Event:
    return orderlog.place(ORDER_ID, orders.PLACED, correlation_id="request-7", fingerprint=fingerprint, extra_writes=extra_writes)


def record(orderlog: OrderLog, *commands: Command) -> Order:
    order = orderlog.load(ORDER_ID)
    for command in commands:
        order = orderlog.record(order, command, source="orders").order
    return order


def items(database: FakeDynamoDB) -> list[dict[str, Any]]:
    return database.items("OrderLog")


def failing(operation: str, error: Exception) -> Any:
    """Return a hook that raises the error at every call of an operation."""

    def hook(name: str, _: dict[str, Any]) -> None:
        if name == operation:
            raise error

    return hook
