"""`GET /orders/{order_id}` and `GET /orders/{order_id}/events`: returns an order or its timeline to its owner."""

from __future__ import annotations

from orderflow.aws import order_access, settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api
from orderflow.aws.order_log import OrderLog
from orderflow.domain.order import fold
from orders import presenters

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))


@api
def handler(event: ApiEvent) -> Response:
    """Return 200 with the order, or with its events."""
    history = order_access.owned_history(LOG, event)
    order_id = history[0].order_id
    if event["resource"].endswith("/events"):
        return answer(200, presenters.timeline(order_id, history))
    return answer(200, presenters.order(fold(order_id, history)))
