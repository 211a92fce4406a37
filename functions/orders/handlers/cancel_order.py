"""`POST /orders/{order_id}/cancellation`: the owner cancels what has not left yet.

The event is what is recorded here; the saga that it starts gives back what the order holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.http import ApiEvent, Problem, Response, answer, api
from orderflow.aws.order_log import Refused
from orderflow.domain.commands import RequestCancellation
from orders import access, api_models, presenters

if TYPE_CHECKING:
    from orderflow.domain.order import Order, State

_ALL_LEFT = "everything of this order has left; what arrives can be sent back"
# Why an order in such a state is not cancelled.
_WHY: dict[State, str] = {
    "failing": "this order is being rejected: it will not be charged or sent",
    "rejected": "this order was rejected: it is not charged or sent",
    "dispatched": _ALL_LEFT,
    "delivered": "this order was delivered; it can be sent back",
    "lost": "this order was lost on its way; what was charged for it is paid back",
    "partly_returned": "this order was delivered; it can be sent back",
    "returned": "this order was sent back already",
}


@api
def handler(event: ApiEvent) -> Response:
    """Answer an API Gateway event with 202 and the order, which is being cancelled or was before."""
    order = access.order(event)
    return answer(202, presenters.order(cancel(order, api_models.cancellation(event).reason)))


def cancel(order: Order, reason: str) -> Order:
    """Record that the customer cancels the order, once, and return the order as it is then.

    Raises:
        Problem: 409 when nothing is left that could be cancelled.
        Conflict: others kept appending to it.
    """
    result = access.LOG.record(order, RequestCancellation("customer", reason), source="orders")
    if isinstance(result, Refused):
        raise Problem(409, "not-cancellable", "Not cancellable", _WHY[result.order.state])
    return result.order
