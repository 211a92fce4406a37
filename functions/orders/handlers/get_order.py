"""`GET /orders/{order_id}` and `GET /orders/{order_id}/events`: an order as its owner sees it."""

from __future__ import annotations

from orderflow.aws.http import ApiEvent, Response, answer, api
from orderflow.domain.order import fold
from orders import access, presenters


@api
def handler(event: ApiEvent) -> Response:
    """Answer an API Gateway event with the order or its events."""
    history = access.history(event)
    order_id = history[0].order_id
    if event["resource"].endswith("/events"):
        return answer(200, presenters.timeline(order_id, history))
    return answer(200, presenters.order(fold(order_id, history)))
