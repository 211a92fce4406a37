"""Consumer: projects orders into the order view.

The event is only a trigger: the row is made from the current order, so events may be duplicated, late, out of order or replayed.
Restored items are ignored: their orders may be incomplete until all items are copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow.aws import settings
from orderflow.aws.batch import FailedRecordQueue, PartialFailures, process_order_versions
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented, logger
from orderflow.aws.order_log import OrderLog
from orderflow.aws.order_log_items import is_restored
from orders import summaries
from orders.summary_store import OrderView

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
VIEW = OrderView(settings.required("ORDER_VIEW_TABLE"), client("dynamodb"))
FAILED_RECORDS = FailedRecordQueue(settings.required("RETRY_QUEUE_URL"))


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Project the orders of a batch from the stream or the queue; return the failed messages."""
    records = [record for record in event["Records"] if not is_restored(record)]
    return process_order_versions({"Records": records}, project, FAILED_RECORDS) if records else {"batchItemFailures": []}


def project(order_id: str, version: int | None = None) -> None:
    """Write the order's row, read at `version` or later, unless the table has a newer one.

    Raises:
        OrderNotFound: the order is unknown.
    """
    row = summaries.row(LOG.load(order_id, version))
    logger.info("order_projected" if VIEW.put(row) else "order_already_projected", state=row.state, order_version=row.version)
