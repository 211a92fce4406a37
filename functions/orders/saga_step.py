"""What the saga's steps of this context share: record a command, answer with the order's state."""

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


def carry_out(order_id: str, command: Command) -> Order:
    """Record `command` on the order and return the order as it is then.

    Raises:
        OrderNotFound: there is no such order.
        Conflict: others kept appending to it.
    """
    return LOG.record(LOG.load(order_id), command, source="orders").order
