"""Creates returns of delivered lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import ValidationError

from orderflow.aws.http import Problem
from orderflow.aws.order_log import OrderLog, Recorded
from orderflow.domain.commands import RequestReturn
from orderflow.domain.events import StockLine
from orders import api_models
from orders.domain import pricing

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from orderflow.aws.http import ApiEvent
    from orderflow.domain.order import Order, Return


def create(log: OrderLog, order: Order, return_id: str, request: api_models.CreateReturnRequest, delivered_since: datetime) -> Return:
    """Record a return of lines delivered at or after `delivered_since` (UTC), or spoiled in transit, and return it.

    A repeated request gets the recorded return.

    Raises:
        Problem: 409 for lines that are not delivered, already being returned or delivered too long ago; 422 for an invalid quantity,
            or if the id belongs to a return with other contents.
        Conflict: every attempt lost against a concurrent append.
    """
    command = RequestReturn(return_id, _merged(request), request.reason, delivered_since, request.reason_code)
    result = log.record(order, command, source="orders")
    if isinstance(result, Recorded):
        return next(one for one in result.order.returns if one.return_id == return_id)
    if result.order.returns.get(return_id):
        detail = "this Idempotency-Key belongs to a return with other contents; use a new key for a new return"
        raise Problem(422, "idempotency-key-reused", "Idempotency-Key reused", detail)
    raise Problem(409, "not-returnable", "Not returnable", result.refusal.why)


def repeats_v1_request(return_: Return, event: ApiEvent) -> bool:
    """Return whether the request created this return under version 1.0, which stored texts as they were sent."""
    try:
        request = api_models.parse_return_v1(event)
        return request.reason == return_.reason and _merged(request) == return_.lines
    except (Problem, ValidationError):
        return False


def delivered_since(now: datetime, window: timedelta) -> datetime:
    """Return the earliest delivery (UTC) that can be returned at `now`: the start of the day that is `window` before.

    So a return window ends at the end of a day, as customers understand "within 30 days".
    """
    return (now - window).replace(hour=0, minute=0, second=0, microsecond=0)


def _merged(request: api_models.CreateReturnRequest) -> tuple[StockLine, ...]:
    try:
        return pricing.merge([StockLine(line.sku, line.quantity) for line in request.lines])
    except pricing.QuantityTooLarge as error:
        raise Problem(422, "quantity-too-large", "Quantity too large", str(error)) from None
