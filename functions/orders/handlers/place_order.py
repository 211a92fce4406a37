"""`POST /orders`: prices an order and appends it to the log."""

from __future__ import annotations

from datetime import timedelta

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Problem, Response, answer, api, caller
from orderflow.aws.observability import annotate, correlation_id_of
from orderflow.aws.order_log import OrderLog
from orderflow.aws.payment_tokens import PaymentTokens
from orders import api_models, presenters
from orders.allowances import Allowances
from orders.catalogue import Catalogue
from orders.domain import pricing
from orders.placement import OrderPlacement, require_deliverable_email

_client = client("dynamodb")
LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), _client)
CATALOGUE = Catalogue(settings.required("CATALOGUE_TABLE"), _client, settings.optional_int("CATALOGUE_TTL_SECONDS", 60))
TOKENS = PaymentTokens(settings.required("PAYMENT_TOKENS_TABLE"), _client)
ALLOWANCES = Allowances(settings.required("ALLOWANCES_TABLE"))
# How long an order may wait for its payment: the longest review, and a week for the saga before and after it.
RETENTION = timedelta(seconds=settings.optional_int("REVIEW_TIMEOUT_SECONDS", 30 * 86_400), days=7)
PLACEMENT = OrderPlacement(LOG, CATALOGUE, TOKENS, ALLOWANCES, RETENTION)


@api
def handler(event: ApiEvent) -> Response:
    """Return 201 with the order; the same Idempotency-Key gets the same answer."""
    customer, key = caller(event), api_models.idempotency_key(event)
    order_id = pricing.order_id(customer.customer_id, key)
    annotate(order_id=order_id)
    try:
        require_deliverable_email(customer)
        request, fingerprint = api_models.parse_order(event)
    except Problem as problem:
        placed = PLACEMENT.placed_by_v1_request(order_id, api_models.fingerprint_v1(event), problem)
    else:
        placed = PLACEMENT.place(order_id, customer, request, fingerprint, correlation_id_of(event) or order_id)
    return answer(201, presenters.placed_order(placed), location=_location(event, order_id))


def _location(event: ApiEvent, order_id: str) -> str:
    """Return the order's URL relative to the request, because the function does not know stage and domain of the public URL."""
    return order_id if event.get("path", "").endswith("/") else f"orders/{order_id}"
