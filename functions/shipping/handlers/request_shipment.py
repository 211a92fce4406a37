"""Asks the carrier for the shipment of an order as soon as it is confirmed.

An event only wakes it: whether a shipment is due is read from the order's log, so doubles and delays change nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow.aws.batch import PartialFailures, each_order
from orderflow.aws.observability import observed
from shipping import shipments
from shipping.dependencies import CARRIER, LOG

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Answer a batch of SQS messages with those that have to come back."""
    return each_order(event, lambda order_id: shipments.request(LOG, CARRIER, order_id))
