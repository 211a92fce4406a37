"""Bring stock in line with dispatched parcels and received returns.

The event only names the order: its stock follows from all of its events, so duplicates and the order of events do not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inventory import reservations
from inventory.dependencies import INVENTORY, LOG
from orderflow.aws import settings
from orderflow.aws.batch import PartialFailures, RetryQueue, each_change
from orderflow.aws.observability import observed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

RETRIES = RetryQueue(settings.required("RETRY_QUEUE_URL"))


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Sync the stock of the orders that a batch of the stream, or of the queue, names; answer with the messages that failed."""
    return each_change(event, lambda order_id, version: reservations.sync_stock(LOG, INVENTORY, order_id, version), RETRIES)
