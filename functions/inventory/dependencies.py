"""The stores that the functions of this context share."""

from __future__ import annotations

from inventory.store import Inventory
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.order_log import OrderLog

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
INVENTORY = Inventory(
    settings.required("STOCK_TABLE"), settings.required("RESERVATIONS_TABLE"), settings.required("RETURNED_STOCK_TABLE"), client("dynamodb")
)
