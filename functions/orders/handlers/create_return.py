"""`POST /orders/{order_id}/returns`: the owner creates a return of delivered lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orderflow.aws import order_access, settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api
from orderflow.aws.order_log import OrderLog
from orders import api_models, presenters, returns
from orders.domain import pricing

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
WINDOW = timedelta(days=settings.optional_int("RETURN_WINDOW_DAYS", 30))


@api
def handler(event: ApiEvent) -> Response:
    """Return 201 with the return; the same Idempotency-Key gets the same answer."""
    order, key = order_access.owned_order(LOG, event), api_models.idempotency_key(event)
    return_id = pricing.return_id(order.order_id, key)
    return_ = order.returns.get(return_id)
    if return_ is None or not returns.repeats_v1_request(return_, event):
        since = returns.delivered_since(datetime.now(UTC), WINDOW)
        return_ = returns.create(LOG, order, return_id, api_models.parse_return(event), since)
    return answer(201, presenters.created_return(return_))
