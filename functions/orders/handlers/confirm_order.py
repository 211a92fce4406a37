"""Saga step: confirms the order after stock is reserved and payment authorized."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws.observability import instrumented
from orderflow.aws.saga_step import timed_step
from orderflow.domain.commands import ConfirmOrder
from orderflow.domain.order import step_blocker
from orders.saga_step import record_command

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.saga_step import StepInput, StepResult
    from orders.saga_step import Outcome


@instrumented
@timed_step("confirm")
def handler(event: StepInput, _context: LambdaContext) -> StepResult[Outcome]:
    """Return `confirmed`, also for an order that was confirmed before, or the state that blocks the saga."""
    order = record_command(event["order_id"], ConfirmOrder())
    match step_blocker(order):
        case "held" | "failing" | "cancelling" | "unreserved" as outcome:
            return {"outcome": outcome}
        case "inactive":
            return {"outcome": "confirmed" if order.confirmed_at else "inactive"}
        case None:
            message = f"{order.order_id} is {order.state}: the payment must be authorized before the order is confirmed"
            raise RuntimeError(message)
