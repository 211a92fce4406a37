"""`GET /orders`: the caller's own orders, newest first, page by page.

The list follows the log with a delay of a second or so: an order that was just placed may not be on it yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from orderflow.aws import cursor, settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Problem, Response, answer, api, caller
from orders.api_models import DEFAULT_LIMIT, MAX_LIMIT, OrderList, OrderSummary, ShownState
from orders.summary_store import OrderView

if TYPE_CHECKING:
    from orders.summaries import Row

VIEW = OrderView(settings.required("ORDER_VIEW_TABLE"), client("dynamodb"))
_STATES: tuple[str, ...] = get_args(ShownState)


@api
def handler(event: ApiEvent) -> Response:
    """Answer an API Gateway event with a page of the caller's orders."""
    customer_id = caller(event).customer_id
    asked = event.get("queryStringParameters") or {}
    state, limit = _state(asked.get("state")), _limit(asked.get("limit"))
    scope = ("orders", customer_id, state)
    after = cursor.decode(asked["cursor"], *scope) if "cursor" in asked else None
    rows, last = VIEW.page(customer_id, state=state, limit=limit, after=after)
    following = cursor.encode(last, *scope) if last else None
    return answer(200, OrderList(tuple(map(_summary, rows)), following))


def _state(given: str | None) -> str | None:
    if given is not None and given not in _STATES:
        raise _invalid("state", f"state: one of {', '.join(_STATES)}")
    return given


def _limit(given: str | None) -> int:
    if given is None:
        return DEFAULT_LIMIT
    if not (given.isascii() and given.isdecimal() and len(given) <= len(str(MAX_LIMIT)) and 1 <= int(given) <= MAX_LIMIT):
        raise _invalid("limit", f"limit: a whole number from 1 to {MAX_LIMIT}")
    return int(given)


def _invalid(parameter: str, detail: str) -> Problem:
    return Problem(400, "parameter-invalid", "Parameter invalid", detail, field=parameter)


def _summary(row: Row) -> OrderSummary:
    return OrderSummary(row.order_id, row.state, row.total, row.items, row.placed_at, row.updated_at)
