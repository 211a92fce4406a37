"""Saga step: rejects or cancels an order after its compensation, and deletes its payment token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented
from orderflow.aws.payment_tokens import PaymentTokens
from orderflow.aws.saga_step import timed_step
from orderflow.domain.commands import CancelOrder, RejectOrder
from orderflow.domain.order import saga_blocker
from orders.saga_step import LOG

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.saga_step import StepInput, StepResult
    from orders.saga_step import Outcome

TOKENS = PaymentTokens(settings.required("PAYMENT_TOKENS_TABLE"), client("dynamodb"))


@instrumented
@timed_step("finalize")
def handler(event: StepInput, _context: LambdaContext) -> StepResult[Outcome]:
    """Return `rejected` or `cancelled`, also if repeated, or `inactive` for an order that is not compensated."""
    order = LOG.load(event["order_id"])
    if order.state in {"failing", "cancelling"}:
        # Deleted before the last event: after it, the saga is not re-run, and a crash would leave the token in the table.
        TOKENS.delete(order.order_id)
    command = CancelOrder() if order.cancellation else RejectOrder()
    order = LOG.record(order, command, source="orders").order
    match order.state:
        case "rejected" | "cancelled" as outcome:
            return {"outcome": outcome}
        case _ if saga_blocker(order) == "inactive":
            return {"outcome": "inactive"}
        case state:
            message = f"{order.order_id} is {state} and still has stock or an authorized payment: void and release come before finalize"
            raise RuntimeError(message)
