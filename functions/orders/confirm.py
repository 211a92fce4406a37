"""Saga step: confirm the order once stock is reserved and payment authorized."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.observability import observed
from orderflow.order import ConfirmOrder
from orders.steps import Result, Step, carry_out

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Answer `confirmed`, also for an order that was confirmed before; otherwise what it is instead."""
    match carry_out(event["order_id"], ConfirmOrder()):
        case "confirmed" | "failing" | "held" as outcome:
            return {"outcome": outcome}
        case "rejected":
            return {"outcome": "ended"}
        case state:
            message = f"{event['order_id']} is {state}: reserve, screen and authorize come before confirm"
            raise RuntimeError(message)
