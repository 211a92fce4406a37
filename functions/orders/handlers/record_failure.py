"""Saga step: records that a step failed in all attempts, before the order is compensated.

After this event only compensation and rejection are possible, so no confirmation can race with the
compensation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.observability import instrumented
from orderflow.aws.saga_step import StepInput, timed_step
from orderflow.domain.commands import FailFulfilment
from orders.saga_step import record_command

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.saga_step import StepResult
    from orders.saga_step import Outcome


class FailedStepInput(StepInput):
    """The saga's input with the step that failed and the name of its error."""

    step: str
    error: str


@instrumented
@timed_step("record_failure")
def handler(event: FailedStepInput, _context: LambdaContext) -> StepResult[Outcome]:
    """Return `failing`, `cancelling` for an order that is being cancelled, or `inactive` for an order without work for the saga."""
    match record_command(event["order_id"], FailFulfilment(event["step"], event["error"])).state:
        case "failing" | "cancelling" as outcome:
            return {"outcome": outcome}
        case _:
            return {"outcome": "inactive"}
