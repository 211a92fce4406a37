"""`POST /reviews/{order_id}/decision`: a reviewer lets a held order go on, or refuses it.

The decision is an event on the order's log and nothing else. That event goes on to run the saga, and
to end the workflow that waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Problem, Response, answer, api, body_of, decoded
from orderflow.aws.order_log import OrderLog, OrderNotFound
from orderflow.domain.ids import is_order_id
from orderflow.domain.order import fold
from reviews import api_models
from reviews.domain import decisions

if TYPE_CHECKING:
    from orderflow.domain.events import Event

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))


@api
def handler(event: ApiEvent) -> Response:
    """Answer an API Gateway event with the decision that stands, the same for whoever decides the same."""
    person = api_models.require_reviewer(event)
    asked = decoded(body_of(event), api_models.DecisionRequest)
    return answer(200, decide((event.get("pathParameters") or {})["order_id"], person.customer_id, asked))


def decide(order_id: str, reviewer: str, asked: api_models.DecisionRequest) -> decisions.Decision:
    """Record a reviewer's decision on a held order and return what stands then.

    Raises:
        Problem: 404 when there is no such order, 403 when it is the reviewer's own, 409 when the
            other was decided, time ran out, or the order is not held.
        Conflict: others kept appending to the order.
    """
    order = fold(order_id, _history(order_id))
    if order.customer.id == reviewer:
        raise Problem(403, "own-order", "Own order", "somebody else has to decide on an order of yours")
    order = LOG.record(order, decisions.to_command(asked.decision, reviewer, asked.note), source="reviews")
    standing = decisions.find_decision(_history(order_id))
    if standing is None:
        raise Problem(409, "not-held", "Not held", f"the order is {order.state} and waits for no decision", state=order.state)
    if not decisions.is_same_decision(standing, asked.decision):
        raise _decided(standing)
    return standing


def _history(order_id: str) -> list[Event]:
    try:
        history = LOG.history(order_id) if is_order_id(order_id) else []
    except OrderNotFound:
        history = []
    if not history:
        raise Problem(404, "order-not-found", "Order not found", "there is no order of this id")
    return history


def _decided(standing: decisions.Decision) -> Problem:
    what = "nobody decided in time, so it was rejected" if standing.timed_out else f"{standing.decision} was decided"
    members = {"decision": standing.decision, "decided_at": standing.decided_at, "timed_out": standing.timed_out}
    return Problem(409, "already-decided", "Already decided", f"{what}; a decision cannot be changed", **members)
