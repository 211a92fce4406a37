"""`GET /orders/{order_id}/invoice` and `/credit-notes/{number}`: the documents of an order, as HTML, for its owner."""

from __future__ import annotations

from typing import Any

from invoices import document_numbers
from invoices.document_store import DocumentStore, document_key
from orderflow.aws import order_access, settings
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Response, api
from orderflow.aws.order_log import OrderLog

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
DOCUMENTS = DocumentStore(settings.required("INVOICE_DOCUMENTS_BUCKET"), client("s3"))
# The document contains its own style; the policy blocks everything else.
_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "private, no-store",
}


@api
def handler(event: ApiEvent) -> Response:
    """Return the invoice, or the credit note that the path names."""
    path: Any = event.get("pathParameters") or {}
    order = order_access.owned_order(LOG, event)
    kind, number = document_numbers.document_of(order, path.get("number"))
    headers = _HEADERS | {"content-disposition": f'inline; filename="{kind}-{number}.html"'}
    return {"statusCode": 200, "headers": headers, "body": DOCUMENTS.get(document_key(order.order_id, number))}
