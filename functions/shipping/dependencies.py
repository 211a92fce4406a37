"""What the functions that speak to the carrier share."""

from __future__ import annotations

from typing import TypedDict

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.order_log import OrderLog
from shipping.carrier_factory import create_carrier

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
CARRIER = create_carrier(settings.required("CARRIER"))


class Step(TypedDict):
    """What the saga gives a step."""

    order_id: str
    correlation_id: str
