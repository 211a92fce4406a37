"""`POST /orders/{order_id}/returns`: the owner announces the return of delivered lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import ValidationError

from orderflow.aws import order_access, settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Problem, Response, answer, api
from orderflow.aws.order_log import OrderLog, Recorded
from orderflow.domain.commands import RequestReturn
from orderflow.domain.events import StockLine
from orders import api_models, presenters
from orders.domain import pricing

if TYPE_CHECKING:
    from orderflow.domain.order import Order, Return

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
WINDOW = timedelta(days=settings.optional_int("RETURN_WINDOW_DAYS", 30))


@api
def handler(event: ApiEvent) -> Response:
    """Return 201 with the return; the same Idempotency-Key gets the same answer."""
    order, key = order_access.owned_order(LOG, event), api_models.idempotency_key(event)
    return_id = pricing.return_id(order.order_id, key)
    return_ = order.returns.get(return_id)
    if return_ is None or not _repeats_v1_request(return_, event):
        return_ = create_return(order, return_id, api_models.parse_return(event))
    return answer(201, presenters.announced(return_))


def create_return(order: Order, return_id: str, request: api_models.CreateReturnRequest) -> Return:
    """Record the return and return it; a repeated request gets the recorded return.

    Raises:
        Problem: 409 for lines that are not delivered, already being returned or delivered too long ago; 422 for an invalid quantity,
            or when the id belongs to a return with other contents.
        Conflict: every attempt lost against a concurrent append.
    """
    command = RequestReturn(return_id, _merged(request), request.reason, delivered_since(datetime.now(UTC)))
    result = LOG.record(order, command, source="orders")
    if isinstance(result, Recorded):
        return next(one for one in result.order.returns if one.return_id == return_id)
    if result.order.returns.get(return_id):
        detail = "this Idempotency-Key belongs to a return with other contents; use a new key for a new return"
        raise Problem(422, "idempotency-key-reused", "Idempotency-Key reused", detail)
    raise Problem(409, "not-returnable", "Not returnable", result.refusal.why)


def _repeats_v1_request(return_: Return, event: ApiEvent) -> bool:
    """Return whether the request created this return when version 1.0, which kept texts as they were sent, took it."""
    try:
        request = api_models.parse_return_v1(event)
        return request.reason == return_.reason and _merged(request) == return_.lines
    except (Problem, ValidationError):
        return False


def delivered_since(now: datetime) -> datetime:
    """Return the earliest delivery (UTC) that can be returned at `now`: the start of the day that lies WINDOW back.

    A return window thus ends at the end of a day, as customers read "within 30 days".
    """
    return (now - WINDOW).replace(hour=0, minute=0, second=0, microsecond=0)


def _merged(request: api_models.CreateReturnRequest) -> tuple[StockLine, ...]:
    try:
        return pricing.merge([StockLine(line.sku, line.quantity) for line in request.lines])
    except pricing.QuantityTooLarge as error:
        raise Problem(422, "quantity-too-large", "Quantity too large", str(error)) from None
