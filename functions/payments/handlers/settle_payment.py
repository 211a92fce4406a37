"""Queue consumer: settles an order's payment after dispatches, losses and returns; the event is only a trigger.

A failed message is retried and finally dead-lettered: the provider is unavailable for long, or provider and log
disagree, which an operator has to examine. A redrive is always safe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow.aws.batch import PartialFailures, process_orders
from orderflow.aws.observability import instrumented
from payments import settlement_service
from payments.dependencies import LOG, PROVIDER

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Process a batch of SQS messages and return the failed ones."""
    return process_orders(event, lambda order_id: settlement_service.settle(LOG, PROVIDER, order_id))
