"""Records reviewers' decisions on held orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.http import Problem
from orderflow.aws.order_log import OrderLog, OrderNotFound
from orderflow.domain.ids import is_order_id
from orderflow.domain.order import fold
from reviews.domain import decisions

if TYPE_CHECKING:
    from orderflow.domain.events import Event
    from reviews.api_models import DecisionRequest


def decide(log: OrderLog, order_id: str, reviewer: str, request: DecisionRequest) -> decisions.Decision:
    """Record a reviewer's decision on a held order and return the recorded decision.

    Raises:
        Problem: 404 for an unknown order, 403 for an order of the reviewer's own, 409 if the
            contrary decision is recorded, the review timed out, or the order is not held.
        Conflict: every attempt lost against a concurrent append.
    """
    order = fold(order_id, _history(log, order_id))
    if order.customer.id == reviewer:
        raise Problem(403, "own-order", "Own order", "another reviewer must decide on your order")
    order = log.record(order, decisions.to_command(request.decision, reviewer, request.note), source="reviews").order
    recorded = decisions.find_decision(_history(log, order_id))
    if recorded is None:
        raise Problem(409, "not-held", "Not held", f"the order is {order.state}; only a held order can be decided", state=order.state)
    if not decisions.is_same_decision(recorded, request.decision):
        raise _already_decided(recorded)
    return recorded


def _history(log: OrderLog, order_id: str) -> list[Event]:
    try:
        history = log.history(order_id) if is_order_id(order_id) else []
    except OrderNotFound:
        history = []
    if not history:
        raise Problem(404, "order-not-found", "Order not found", "order not found")
    return history


def _already_decided(recorded: decisions.Decision) -> Problem:
    outcome = "the review timed out and the order was rejected" if recorded.timed_out else f"the decision is {recorded.decision}"
    members = {"decision": recorded.decision, "decided_at": recorded.decided_at, "timed_out": recorded.timed_out}
    return Problem(409, "already-decided", "Already decided", f"{outcome}; a decision cannot be changed", **members)
