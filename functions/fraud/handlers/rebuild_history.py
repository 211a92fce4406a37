"""Invoked by an operator: writes the order history again from the order log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fraud.order_history import OrderHistory
from orderflow.aws import rebuilding, settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented
from orderflow.aws.order_log import OrderLog
from orderflow.aws.rebuilding import Rebuild

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
HISTORY = OrderHistory(settings.required("FRAUD_TABLE"), client("dynamodb"))


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return how many of the orders have an item.

    Raises:
        OrderNotFound: the log has no such order.
        InvalidRequest: the event names no orders.
    """
    now = datetime.now(UTC)
    restored = [HISTORY.restore(LOG.load(order_id), now) for order_id in rebuilding.parse(event, Rebuild).orders]
    return {"outcome": "rebuilt", "rows": sum(restored)}
