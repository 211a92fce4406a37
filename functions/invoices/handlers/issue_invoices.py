"""Issues the invoices of confirmed orders, and credit notes for later cancellations and refunds.

An order without a due document stays unchanged, so deliveries may be duplicated, late or out of order. The documents of a batch
are stored first; their numbers, rows and events follow in one transaction. If another function takes the numbers first, the batch
takes the next ones, and the documents stored under the lost numbers are never referenced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoices import issuing
from invoices.document_store import DocumentStore
from invoices.invoice_store import InvoiceStore
from orderflow.aws import settings
from orderflow.aws.batch import PartialFailures, process_orders_together
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented
from orderflow.aws.order_log import OrderLog
from orderflow.aws.parallel import in_parallel

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
STORES = issuing.Stores(
    LOG,
    InvoiceStore(settings.required("INVOICES_TABLE"), client("dynamodb")),
    DocumentStore(settings.required("INVOICE_DOCUMENTS_BUCKET"), client("s3")),
    in_parallel,
)


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Return the SQS messages that must be redelivered."""
    return process_orders_together(event, lambda order_ids: issuing.errors(issuing.issue(STORES, order_ids)))
