"""Invoked by an operator: writes the rows and documents of issued invoices and credit notes again from the order log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoices import issuing, rebuilding
from invoices.document_store import DocumentStore
from invoices.invoice_store import InvoiceStore
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented
from orderflow.aws.order_log import OrderLog
from orderflow.aws.parallel import in_parallel
from orderflow.aws.rebuilding import Rebuild, parse

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

STORES = issuing.Stores(
    OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb")),
    InvoiceStore(settings.required("INVOICES_TABLE"), client("dynamodb")),
    DocumentStore(settings.required("INVOICE_DOCUMENTS_BUCKET"), client("s3")),
    in_parallel,
)


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Return how many documents the orders have.

    Raises:
        OrderNotFound: the log has no such order.
        NumberTaken: another order has a number of one of these.
        InvalidRequest: the event names no orders.
    """
    return {"outcome": "rebuilt", "documents": rebuilding.rebuild(STORES, parse(event, Rebuild).orders)}
