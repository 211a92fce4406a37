"""Clients and settings that the carrier's functions share, created once at import."""

from __future__ import annotations

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.order_log import OrderLog
from shipping.carrier_factory import create_carrier

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
CARRIER = create_carrier()
