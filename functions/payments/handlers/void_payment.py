"""Saga step of the compensation: voids the order's authorization."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from orderflow.aws.observability import observed
from payments import settlement_service
from payments.dependencies import LOG, PROVIDER, Step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Result(TypedDict):
    """Output of the saga step, read by the saga's Choice state."""

    outcome: settlement_service.VoidOutcome


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Answer `voided`, `nothing_to_void`, or `inactive` for an order that came to its end."""
    return {"outcome": settlement_service.void(LOG, PROVIDER, event["order_id"])}
