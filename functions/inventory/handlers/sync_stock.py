"""Consumer: syncs stock with dispatched parcels and received returns.

The event is only a trigger: stock follows from all events of the order, so events may be duplicated, late or out of order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inventory import reservations
from inventory.dependencies import INVENTORY, LOG
from orderflow.aws import settings
from orderflow.aws.batch import FailedRecordQueue, PartialFailures, process_order_versions
from orderflow.aws.observability import instrumented

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

FAILED_RECORDS = FailedRecordQueue(settings.required("RETRY_QUEUE_URL"))


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Sync the stock of the orders in a batch from the stream or the queue; return the failed messages."""
    return process_order_versions(
        event, lambda order_id, version: reservations.sync_stock(LOG, INVENTORY, order_id, version), FAILED_RECORDS
    )
