"""Queue consumer: requests the shipment of a confirmed order from the carrier.

The event is only a trigger: the order log decides whether a shipment is due, so repeated and late events are harmless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow.aws.batch import PartialFailures, process_orders
from orderflow.aws.observability import instrumented
from shipping import shipments
from shipping.dependencies import CARRIER, LOG

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Process a batch of SQS messages and return the failed ones."""
    return process_orders(event, lambda order_id: shipments.request(LOG, CARRIER, order_id))
