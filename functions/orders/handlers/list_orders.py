"""`GET /orders`: lists the caller's orders, newest first.

The order view lags behind the order log by about a second, so an order that was just placed may be missing.
"""

from __future__ import annotations

from typing import get_args

from orderflow.aws import paging, settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, answer, api, caller
from orders import presenters
from orders.api_models import DisplayState, OrderList
from orders.summary_store import OrderView

VIEW = OrderView(settings.required("ORDER_VIEW_TABLE"), client("dynamodb"))
_STATES: tuple[str, ...] = get_args(DisplayState)


@api
def handler(event: ApiEvent) -> Response:
    """Return 200 with a page of the caller's orders."""
    customer_id, state = caller(event).customer_id, requested_state(event)
    scope = ("orders", customer_id, state)
    limit, after = paging.parse_page(event, *scope)
    rows, last = VIEW.page(customer_id, state=state, limit=limit, after=after)
    return answer(200, OrderList(tuple(map(presenters.summary, rows)), paging.next_cursor(last, *scope)))


def requested_state(event: ApiEvent) -> str | None:
    """Return the state to filter by, or None for all orders.

    Raises:
        Problem: 400 for an unknown state.
    """
    state = (event.get("queryStringParameters") or {}).get("state")
    if state is not None and state not in _STATES:
        raise paging.invalid_parameter("state", f"one of {', '.join(_STATES)}")
    return state
