"""Brings stock in line with the parcels that left and the returns that came.

The event only says which order to look at: what its stock should be follows from all of its events. So it makes no
difference how often an event comes, or in which order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inventory import reservations
from inventory.saga_step import INVENTORY, LOG
from orderflow.aws import settings
from orderflow.aws.batch import PartialFailures, RetryQueue, each_change
from orderflow.aws.observability import observed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

RETRIES = RetryQueue(settings.required("RETRY_QUEUE_URL"))


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Settle the orders that a batch of the stream, or of the queue, is about; answer with the messages that have to come back."""
    return each_change(event, lambda order_id, version: reservations.settle(LOG, INVENTORY, order_id, version), RETRIES)
