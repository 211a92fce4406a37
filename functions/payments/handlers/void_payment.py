"""Saga step of the compensation: voids the order's authorization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.observability import instrumented
from orderflow.aws.saga_step import timed_step
from payments import settlement_service
from payments.dependencies import LOG, PROVIDER

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.saga_step import StepInput, StepResult


@instrumented
@timed_step("void")
def handler(event: StepInput, _context: LambdaContext) -> StepResult[settlement_service.VoidOutcome]:
    """Return `voided`, `nothing_to_void`, or `inactive` for an order that has ended."""
    return {"outcome": settlement_service.void(LOG, PROVIDER, event["order_id"])}
