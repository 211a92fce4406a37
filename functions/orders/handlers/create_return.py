"""`POST /orders/{order_id}/returns`: the owner announces that some of what was delivered comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import ValidationError

from orderflow.aws import settings
from orderflow.aws.http import ApiEvent, Problem, Response, answer, api
from orderflow.aws.order_log import Recorded
from orderflow.domain.commands import RequestReturn
from orderflow.domain.events import StockLine
from orders import access, api_models, presenters
from orders.domain import pricing

if TYPE_CHECKING:
    from orderflow.domain.order import Order, Return

WINDOW = timedelta(days=settings.optional_int("RETURN_WINDOW_DAYS", 30))


@api
def handler(event: ApiEvent) -> Response:
    """Answer an API Gateway event with 201 and the return, the same for the same Idempotency-Key."""
    order, key = access.order(event), api_models.idempotency_key(event)
    return_id = pricing.return_id(order.order_id, key)
    known = order.returns.get(return_id)
    if known is None or not _is_repeated(known, event):
        known = send_back(order, return_id, api_models.sending_back(event))
    return answer(201, presenters.announced(known))


def send_back(order: Order, return_id: str, request: api_models.SendBackRequest) -> Return:
    """Record that the lines of the request come back and return their return, or the one it was before.

    Raises:
        Problem: 409 for what was not delivered, comes back already, or was delivered too long ago; 422
            for a quantity that no order has, or when the id belongs to a return with other contents.
        Conflict: others kept appending to the order.
    """
    command = RequestReturn(return_id, _merged(request), request.reason, delivered_since(datetime.now(UTC)))
    result = access.LOG.record(order, command, source="orders")
    known = {one.return_id: one for one in result.order.returns}
    if isinstance(result, Recorded):
        return known[return_id]
    if return_id in known:
        detail = "this Idempotency-Key belongs to a return with other contents; use a new key for a new return"
        raise Problem(422, "idempotency-key-reused", "Idempotency-Key reused", detail)
    raise Problem(409, "not-returnable", "Not returnable", result.refusal.why)


def _is_repeated(known: Return, event: ApiEvent) -> bool:
    """Tell whether a return is that of a request whose texts are taken as they were sent: so did versions up to 1.0."""
    try:
        sent = api_models.sending_back_as_sent(event)
        return sent.reason == known.reason and _merged(sent) == known.lines
    except (Problem, ValidationError):
        return False


def delivered_since(now: datetime) -> datetime:
    """Return from when on a delivery can be returned at `now`: from the first moment of the day (UTC) that lies WINDOW back.

    So the window of a delivery ends with the end of a day, as people read "within 30 days".
    """
    return (now - WINDOW).replace(hour=0, minute=0, second=0, microsecond=0)


def _merged(request: api_models.SendBackRequest) -> tuple[StockLine, ...]:
    try:
        return pricing.merge([StockLine(line.sku, line.quantity) for line in request.lines])
    except pricing.QuantityTooLarge as error:
        raise Problem(422, "quantity-too-large", "Quantity too large", str(error)) from None
