"""Shared by the saga steps of this context: the order log, and recording a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.order_log import OrderLog

if TYPE_CHECKING:
    from orderflow.domain.commands import Command
    from orderflow.domain.order import Order

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))

Outcome = Literal["confirmed", "rejected", "cancelled", "failing", "cancelling", "held", "inactive", "unreserved"]


def record_command(order_id: str, command: Command) -> Order:
    """Record `command` on the order if the order allows it, and return the current order.

    Raises:
        OrderNotFound: the order is unknown.
        Conflict: every attempt lost against a concurrent append.
    """
    return LOG.record(LOG.load(order_id), command, source="orders").order
