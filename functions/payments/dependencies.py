"""What the saga's steps of this context share."""

from __future__ import annotations

from typing import TypedDict

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.order_log import OrderLog
from payments.provider_factory import create_provider

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
PROVIDER = create_provider(settings.required("PAYMENT_PROVIDER"))


class Step(TypedDict):
    """What the saga gives a step."""

    order_id: str
    correlation_id: str
