"""Clients and settings that the payments functions share, created once at import."""

from __future__ import annotations

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.order_log import OrderLog
from payments.measured_provider import MeasuredProvider
from payments.provider_factory import create_provider

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
PROVIDER = MeasuredProvider(create_provider())
