"""Places orders with real reservations, and records their further events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from inventory import reservations
from inventory.dependencies import INVENTORY, LOG
from inventory.domain.stock_rules import Level
from orderflow.domain.order import Order
from tests.fakes.aws.dynamodb import FakeDynamoDB
from tests.support.prepared import advance, place
from tests.support.stock_shards import levels

RECEIVED = {"MUG-BLUE": 10, "TRAY-BIRCH": 5}
LINES = {"MUG-BLUE": 3, "TRAY-BIRCH": 1}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def fill(database: FakeDynamoDB) -> None:
    database.seed(
        "Stock", *({"sku": {"S": sku}, "available": {"N": str(count)}, "reserved": {"N": "0"}} for sku, count in RECEIVED.items())
    )


def mug_level(database: FakeDynamoDB) -> Level:
    return levels(database)["MUG-BLUE"]


def seeded_stock() -> dict[str, Level]:
    return {sku: Level(count) for sku, count in RECEIVED.items()}


def place_and_advance(*steps: str, order_id: str = "ord_1", **order: Any) -> Order:
    """Append an order with a real reservation and these further steps."""
    place(LOG, order_id, **{"lines": LINES, **order})
    return advance(
        LOG, order_id, *steps, real_steps={"inventory.handlers.reserve_stock": lambda one: reservations.reserve(LOG, INVENTORY, one)}
    )


def types(order_id: str = "ord_1") -> list[str]:
    return [event.type for event in LOG.history(order_id)]
