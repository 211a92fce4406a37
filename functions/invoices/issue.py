"""Writes the invoice of a confirmed order, and credit notes for what is cancelled or paid back of it since.

Of each the document comes first, then its number, its row and its event in one transaction. An event only wakes it: an order
that has what is due is left alone. A document depends on nothing but the order and the number, so writing it again writes the
same. Where another order takes the number first, the next one is tried, and the document under the lost number stays behind,
named by nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoices import issuing
from invoices.documents import Documents
from invoices.numbers import Invoices
from orderflow import settings
from orderflow.batch import PartialFailures, each_order
from orderflow.clients import client
from orderflow.log import OrderLog
from orderflow.observability import logger, observed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
STORES = issuing.Stores(
    LOG,
    Invoices(settings.required("INVOICES_TABLE"), client("dynamodb")),
    Documents(settings.required("INVOICE_DOCUMENTS_BUCKET"), client("s3")),
)


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Answer a batch of SQS messages with those that have to come back."""
    return each_order(event, issue)


def issue(order_id: str) -> None:
    """Have the order invoiced, and credited what it is to be. Raises what `issuing.issue` raises."""
    order = issuing.issue(STORES, order_id)
    logger.info("invoiced" if order.invoice else "not to be invoiced", number=order.invoice, state=order.state)
