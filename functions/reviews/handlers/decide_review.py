"""`POST /reviews/{order_id}/decision`: a reviewer approves or rejects a held order.

The decision is one event on the order log. That event re-runs the saga and closes the review.
"""

from __future__ import annotations

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api, body_bytes, parse_model
from orderflow.aws.order_log import OrderLog
from reviews import api_models, decision_service

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))


@api
def handler(event: ApiEvent) -> Response:
    """Return 200 with the recorded decision; repeating the same decision returns the same answer."""
    reviewer = api_models.require_reviewer(event)
    request = parse_model(body_bytes(event), api_models.DecisionRequest)
    order_id = (event.get("pathParameters") or {})["order_id"]
    return answer(200, decision_service.decide(LOG, order_id, reviewer.customer_id, request))
