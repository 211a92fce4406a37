"""Saga step: give up on an order whose steps kept failing, so that it can be unwound.

The event seals the order: from here on nothing but giving back and rejecting is possible, so no
confirmation can cross with the compensation that follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.observability import observed
from orderflow.aws.saga_step import StepInput
from orderflow.domain.commands import FailFulfilment
from orders.saga_step import carry_out

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.saga_step import StepResult
    from orders.saga_step import Outcome


class FailedStepInput(StepInput):
    """The saga's input with the step that failed and the name of its error."""

    step: str
    error: str


@observed
def handler(event: FailedStepInput, _context: LambdaContext) -> StepResult[Outcome]:
    """Answer `failing`, `cancelling` where somebody cancelled it first, or `inactive` where the order had come to its end before."""
    match carry_out(event["order_id"], FailFulfilment(event["step"], event["error"])).state:
        case "failing" | "cancelling" as outcome:
            return {"outcome": outcome}
        case _:
            return {"outcome": "inactive"}
