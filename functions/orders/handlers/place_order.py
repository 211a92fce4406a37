"""`POST /orders`: price an order and append it to the log, in one transaction with its payment token and the customer's allowance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.dynamodb import TransactionConditionFailed, TransactionConflict
from orderflow.aws.http import ApiEvent, Caller, Problem, Response, answer, api, caller
from orderflow.aws.observability import annotate, correlation_id_of
from orderflow.aws.order_log import OrderLog, OrderNotFound, RequestMismatch
from orderflow.aws.payment_tokens import PaymentTokens
from orderflow.domain import email_address
from orderflow.domain.events import Customer, OrderPlaced, StockLine
from orders import api_models
from orders.allowances import Allowances, Row
from orders.catalogue import Catalogue
from orders.domain import pricing, unpaid_limits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orderflow.domain.events import Event
    from orderflow.domain.order import Order

_client = client("dynamodb")
LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), _client)
CATALOGUE = Catalogue(settings.required("CATALOGUE_TABLE"), _client, settings.optional_int("CATALOGUE_TTL_SECONDS", 60))
TOKENS = PaymentTokens(settings.required("PAYMENT_TOKENS_TABLE"), _client)
ALLOWANCES = Allowances(settings.required("ALLOWANCES_TABLE"))
# How long an order may wait for its payment: the longest review, and a week for the saga before and after it.
KEPT_FOR = timedelta(seconds=settings.optional_int("REVIEW_TIMEOUT_SECONDS", 30 * 86_400), days=7)
RECOUNTS = 4


@api
def handler(event: ApiEvent) -> Response:
    """Answer an API Gateway event with 201 and the order, the same for the same Idempotency-Key."""
    customer, key = caller(event), api_models.idempotency_key(event)
    order_id = pricing.order_id(customer.customer_id, key)
    annotate(order_id=order_id)
    try:
        _reachable(customer)
        request, fingerprint = api_models.parse_order(event)
    except Problem as problem:
        placed = _accepted_before(order_id, event, problem)
    else:
        placed = place(order_id, customer, request, fingerprint, correlation_id_of(event) or order_id)
    return answer(201, _view(placed), location=_location(event, order_id))


def _location(event: ApiEvent, order_id: str) -> str:
    """Return where the order is, relative to the request: its path has the stage and what a custom domain puts before it, ours has not."""
    return order_id if event.get("path", "").endswith("/") else f"orders/{order_id}"


def _reachable(customer: Caller) -> None:
    if not customer.email:
        raise Problem(
            403, "email-missing", "Email missing", "sign in with a token that has a verified email address for the emails about the order"
        )
    try:
        email_address.for_ses(customer.email)
    except email_address.Undeliverable as error:
        raise Problem(403, "email-undeliverable", "Email undeliverable", f"email about the order could not be sent: {error}") from None


def place(order_id: str, customer: Caller, request: api_models.PlaceOrderRequest, fingerprint: str, correlation_id: str) -> Event:
    """Append the order and return its first event, or the one it had when it was placed before.

    Raises:
        Problem: 422 for products or quantities that cannot be ordered, or when the id belongs to a
            request with other contents; 409 where the customer has too much that is not paid.
        TransactionConflict: concurrent requests of the customer kept getting in the way.
    """
    try:
        try:
            placed = _priced(customer, request)
            return _append(order_id, placed, correlation_id, fingerprint, request.payment.token)
        except Problem as problem:
            return _placed_before(order_id, fingerprint, problem)
    except RequestMismatch:
        detail = "this Idempotency-Key belongs to an order with other contents; use a new key for a new order"
        raise Problem(422, "idempotency-key-reused", "Idempotency-Key reused", detail) from None


def _append(order_id: str, placed: OrderPlaced, correlation_id: str, fingerprint: str, token: str) -> Event:
    """Append the order together with its token and its share of the customer's allowance.

    Where the allowance says that a limit is reached, the orders that it counts are read, and counted again.
    """
    expires_at = datetime.now(UTC) + KEPT_FOR
    customer, lines = placed.customer.id, [StockLine(line.sku, line.quantity) for line in placed.lines]
    storing = TOKENS.storing(order_id, token, expires_at)
    counting = ALLOWANCES.adding(customer, order_id, lines, expires_at)
    for _ in range(RECOUNTS):
        try:
            return LOG.place(order_id, placed, correlation_id=correlation_id, fingerprint=fingerprint, extra_writes=(counting, storing))
        except TransactionConditionFailed as refused:
            row = Row.of(refused.reasons[0].item)
        still_unpaid = [order for order in _orders(row.orders) if unpaid_limits.is_unpaid(order)]
        try:
            unpaid_limits.check(lines, still_unpaid)
        except unpaid_limits.UnpaidLimitReached as reached:
            members = {"unpaid_orders": reached.orders, "skus": reached.skus}
            raise Problem(409, "unpaid-limit-reached", "Unpaid limit reached", str(reached), **members) from None
        counting = ALLOWANCES.replacing(customer, row, still_unpaid, order_id=order_id, lines=lines, expires_at=expires_at)
    raise TransactionConflict


def _orders(order_ids: Iterable[str]) -> list[Order]:
    found: list[Order] = []
    for order_id in order_ids:
        try:
            found.append(LOG.load(order_id))
        except OrderNotFound:  # the log was restored from a backup that is older than the row
            continue
    return found


def _placed_before(order_id: str, fingerprint: str, problem: Problem) -> Event:
    """Return what a repeated request placed while that was still possible, or raise `problem`."""
    try:
        return LOG.placed(order_id, fingerprint)
    except OrderNotFound:
        raise problem from None


def _accepted_before(order_id: str, event: ApiEvent, problem: Problem) -> Event:
    """Return what a repeated request placed before a deployment that refuses it now, or raise `problem`."""
    fingerprint = api_models.fingerprint_v1(event)
    if fingerprint is None:
        raise problem
    try:
        return _placed_before(order_id, fingerprint, problem)
    except RequestMismatch:
        raise problem from None


def _priced(customer: Caller, request: api_models.PlaceOrderRequest) -> OrderPlaced:
    try:
        merged = pricing.merge([StockLine(line.sku, line.quantity) for line in request.lines], unpaid_limits.MAX_UNITS)
        lines, total = pricing.price(merged, CATALOGUE.products(line.sku for line in merged))
    except pricing.UnknownProducts as error:
        raise Problem(422, "unknown-sku", "Unknown sku", str(error), skus=error.skus) from None
    except pricing.MixedCurrencies as error:
        raise Problem(422, "mixed-currencies", "Mixed currencies", str(error)) from None
    except pricing.NothingToPay as error:
        raise Problem(422, "nothing-to-pay", "Nothing to pay", str(error)) from None
    except pricing.NotChargeable as error:
        raise Problem(422, "price-not-chargeable", "Price not chargeable", str(error), skus=error.skus) from None
    except pricing.QuantityTooLarge as error:
        raise Problem(422, "quantity-too-large", "Quantity too large", str(error)) from None
    return OrderPlaced(
        customer=Customer(customer.customer_id, customer.email),
        lines=lines,
        total=total,
        shipping_address=request.shipping_address.to_event_address(),
        payment_country=request.payment.country,
    )


def _view(event: Event) -> api_models.OrderAnswer:
    placed = event.data
    if not isinstance(placed, OrderPlaced):
        message = f"{event.event_id} is no OrderPlaced"
        raise TypeError(message)
    return api_models.OrderAnswer(event.order_id, "placed", placed.lines, placed.total, event.occurred_at)
