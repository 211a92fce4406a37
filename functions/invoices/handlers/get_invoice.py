"""`GET /orders/{order_id}/invoice` and `/credit-notes/{number}`: the documents of an order, as HTML, for its owner."""

from __future__ import annotations

from typing import Any

from invoices.document_store import DocumentStore, document_key
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Problem, Response, api, caller
from orderflow.aws.order_log import OrderLog, OrderNotFound
from orderflow.domain.ids import is_order_id
from orderflow.domain.order import Order

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
DOCUMENTS = DocumentStore(settings.required("INVOICE_DOCUMENTS_BUCKET"), client("s3"))
# The document brings its own style, and nothing else may come with it.
_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "private, no-store",
}


@api
def handler(event: ApiEvent) -> Response:
    """Answer an API Gateway event with the document."""
    asked: Any = event.get("pathParameters") or {}
    order = owned(asked["order_id"], caller(event).customer_id)
    number = credited(order, asked["number"]) if "number" in asked else invoiced(order)
    name = f"{'credit-note' if 'number' in asked else 'invoice'}-{number}.html"
    headers = _HEADERS | {"content-disposition": f'inline; filename="{name}"'}
    return {"statusCode": 200, "headers": headers, "body": DOCUMENTS.get(document_key(order.order_id, number))}


def invoiced(order: Order) -> str:
    """Return the number of the order's invoice.

    Raises:
        Problem: 404 when there is none.
    """
    if order.invoice is None:
        raise Problem(404, "invoice-not-found", "Invoice not found", "an order has its invoice soon after it was confirmed")
    return order.invoice


def credited(order: Order, number: str) -> str:
    """Return the number of a credit note, if it is one of the order's.

    Raises:
        Problem: 404 when it is not.
    """
    if all(one.credit_note != number for one in order.corrections):
        raise Problem(404, "credit-note-not-found", "Credit note not found", "the order's events name its credit notes")
    return number


def owned(order_id: str, customer_id: str) -> Order:
    """Return the customer's order.

    Raises:
        Problem: 404 when there is no such order, and the very same when it is somebody else's.
    """
    try:
        order = LOG.load(order_id) if is_order_id(order_id) else None
    except OrderNotFound:
        order = None
    if order is None or order.customer.id != customer_id:
        raise Problem(404, "order-not-found", "Order not found", "you have no order of this id")
    return order
