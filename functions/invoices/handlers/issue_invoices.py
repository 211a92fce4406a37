"""Writes the invoices of confirmed orders, and credit notes for what is cancelled or paid back of them since.

The documents of a batch come first, then their numbers, their rows and the orders' events in one transaction. An event only wakes
it: an order that has what is due is left alone. A document depends on nothing but the order and the number, so writing it again
writes the same. Where other orders take the numbers first, the next ones are tried, and the documents under the lost numbers stay
behind, named by nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoices import issuing
from invoices.document_store import DocumentStore
from invoices.invoice_store import InvoiceStore
from orderflow.aws import settings
from orderflow.aws.batch import PartialFailures, all_orders
from orderflow.aws.clients import client
from orderflow.aws.observability import logger, observed
from orderflow.aws.order_log import OrderLog
from orderflow.aws.parallel import in_parallel
from orderflow.domain.order import Order

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
STORES = issuing.Stores(
    LOG,
    InvoiceStore(settings.required("INVOICES_TABLE"), client("dynamodb")),
    DocumentStore(settings.required("INVOICE_DOCUMENTS_BUCKET"), client("s3")),
    in_parallel,
)


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Answer a batch of SQS messages with those that have to come back."""
    return all_orders(event, issue)


def issue(order_ids: list[str]) -> dict[str, Exception]:
    """Have orders invoiced, and credited what they are to be; return what keeps some of them from that."""
    outcomes = issuing.issue(STORES, order_ids)
    for order_id, order in outcomes.items():
        if isinstance(order, Order):
            line = "invoiced" if order.invoice else "not to be invoiced"
            logger.info(line, order_id=order_id, correlation_id=order.correlation_id, number=order.invoice, state=order.state)
    return {order_id: error for order_id, error in outcomes.items() if isinstance(error, Exception)}
