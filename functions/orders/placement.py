"""Places orders: prices a request and appends the order, once per Idempotency-Key."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orderflow.aws.dynamodb import TransactionConditionFailed, TransactionConflict
from orderflow.aws.http import Caller, Problem
from orderflow.aws.order_log import OrderLog, OrderNotFound, RequestMismatch
from orderflow.domain import email_address
from orderflow.domain.events import Customer, OrderPlaced, StockLine
from orderflow.domain.money import format_money
from orders.allowances import Allowances, Row
from orders.domain import pricing, unpaid_limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orderflow.aws.payment_tokens import PaymentTokens
    from orderflow.domain.events import Event
    from orderflow.domain.order import Order
    from orders import api_models
    from orders.catalogue import Catalogue

_ATTEMPTS = 4


class OrderPlacement:
    """Appends priced orders to the order log."""

    def __init__(self, log: OrderLog, catalogue: Catalogue, tokens: PaymentTokens, allowances: Allowances, retention: timedelta) -> None:
        """Use these stores; `retention` is how long an order may wait for its payment, after which its token and count expire."""
        self._log = log
        self.catalogue = catalogue
        self._tokens = tokens
        self._allowances = allowances
        self._retention = retention

    def place(self, order_id: str, customer: Caller, request: api_models.PlaceOrderRequest, fingerprint: str, correlation_id: str) -> Event:
        """Append the order and return its first event, or the one it had when it was placed before.

        Raises:
            Problem: 422 for products or quantities that cannot be ordered, or if the id belongs to a request with other contents; 409
                if the customer's unpaid and declined orders reach a limit.
            TransactionConflict: concurrent requests of the customer changed the same row in every attempt.
        """
        try:
            try:
                placed = self._priced(customer, request)
                return self._append(order_id, placed, correlation_id, fingerprint, request.payment.token)
            except Problem as problem:
                return self._placed_before(order_id, fingerprint, problem)
        except RequestMismatch:
            detail = "this Idempotency-Key belongs to an order with other contents; use a new key for a new order"
            raise Problem(422, "idempotency-key-reused", "Idempotency-Key reused", detail) from None

    def _append(self, order_id: str, placed: OrderPlaced, correlation_id: str, fingerprint: str, token: str) -> Event:
        """Append the order in one transaction with its payment token and the customer's count of orders.

        If the count reaches a limit, the counted orders are read and counted again.
        """
        expires_at = datetime.now(UTC) + self._retention
        customer, lines = placed.customer.id, [StockLine(line.sku, line.quantity) for line in placed.lines]
        token_write = self._tokens.put_request(order_id, token, expires_at)
        count_write = self._allowances.add_request(customer, order_id, lines, expires_at)
        for _ in range(_ATTEMPTS):
            try:
                writes = (count_write, token_write)
                return self._log.place(order_id, placed, correlation_id=correlation_id, fingerprint=fingerprint, extra_writes=writes)
            except TransactionConditionFailed as refused:
                row = Row.of(refused.reasons[0].item)
            counted = unpaid_limits.counted(self._orders(row.orders), datetime.now(UTC))
            try:
                unpaid_limits.check(lines, counted)
            except unpaid_limits.UnpaidLimitReached as reached:
                members = {"unpaid_orders": reached.unpaid, "declined_orders": reached.declined, "skus": reached.skus}
                raise Problem(409, "unpaid-limit-reached", "Unpaid limit reached", str(reached), **members) from None
            count_write = self._allowances.replace_request(customer, row, counted, order_id=order_id, lines=lines, expires_at=expires_at)
        raise TransactionConflict

    def _orders(self, order_ids: Iterable[str]) -> Iterator[Order]:
        for order_id in order_ids:
            with suppress(OrderNotFound):  # the log was restored from a backup that is older than the row
                yield self._log.load(order_id)

    def _placed_before(self, order_id: str, fingerprint: str, problem: Problem) -> Event:
        """Return the first event of the order that the same request placed before, or raise `problem`."""
        try:
            return self._log.placed(order_id, fingerprint)
        except OrderNotFound:
            raise problem from None

    def placed_by_v1_request(self, order_id: str, fingerprint: str | None, problem: Problem) -> Event:
        """Return the order that version 1.0 accepted for a request which is refused now, or raise `problem`.

        `fingerprint` is the one that version 1.0 gave to the request, None if it refused the request too.
        """
        if fingerprint is None:
            raise problem
        try:
            return self._placed_before(order_id, fingerprint, problem)
        except RequestMismatch:
            raise problem from None

    def _priced(self, customer: Caller, request: api_models.PlaceOrderRequest) -> OrderPlaced:
        try:
            merged = pricing.merge([StockLine(line.sku, line.quantity) for line in request.lines], unpaid_limits.MAX_UNITS)
            lines, total = pricing.price(merged, self.catalogue.products(line.sku for line in merged))
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
        if request.expected_total not in (None, total):
            detail = f"the order costs {format_money(total)} now; confirm the new price and send it as expected_total"
            raise Problem(409, "price-changed", "Price changed", detail, total=total, lines=lines)
        return OrderPlaced(
            customer=Customer(customer.customer_id, customer.email),
            lines=lines,
            total=total,
            shipping_address=request.shipping_address.to_event_address(),
            payment_country=request.payment.country,
        )


def require_deliverable_email(customer: Caller) -> None:
    """Require a verified email address to which SES can send the emails about the order.

    Raises:
        Problem: 403 without such an address.
    """
    if not customer.email:
        raise Problem(
            403, "email-missing", "Email missing", "sign in with a token that has a verified email address for the emails about the order"
        )
    try:
        email_address.for_ses(customer.email)
    except email_address.Undeliverable as error:
        raise Problem(403, "email-undeliverable", "Email undeliverable", f"email about the order could not be sent: {error}") from None
