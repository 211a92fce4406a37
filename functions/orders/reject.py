"""Saga step: reject an order after everything it held has been given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.observability import observed
from orderflow.order import RejectOrder
from orders.steps import Result, Step, carry_out

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Answer `rejected`, also for an order rejected before, or `ended` for a confirmed one."""
    match carry_out(event["order_id"], RejectOrder()):
        case "rejected":
            return {"outcome": "rejected"}
        case "confirmed":
            return {"outcome": "ended"}
        case state:
            message = f"{event['order_id']} is {state} and still holds something: void and release come before reject"
            raise RuntimeError(message)
