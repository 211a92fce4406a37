"""Brings an order's money in line with what left, was lost and came back; an event only says that it is worth a look.

A message that fails comes back, and in the end lies in the dead-letter queue: then the provider is away for long, or it and
the log disagree, which a person has to see. Putting it back is always safe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow.aws.batch import PartialFailures, each_order
from orderflow.aws.observability import observed
from payments import settlement_service
from payments.dependencies import LOG, PROVIDER

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Answer a batch of SQS messages with those that have to come back."""
    return each_order(event, lambda order_id: settlement_service.settle(LOG, PROVIDER, order_id))
