"""Saga step: authorizes the order's total at the payment provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import observed
from orderflow.aws.payment_tokens import PaymentTokens
from payments import settlement_service
from payments.dependencies import LOG, PROVIDER, Step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

TOKENS = PaymentTokens(settings.required("PAYMENT_TOKENS_TABLE"), client("dynamodb"))


class Result(TypedDict):
    """Output of the saga step, read by the saga's Choice state."""

    outcome: settlement_service.AuthorizeOutcome


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Return `authorized` or `declined`, or the state that blocks the saga. Idempotent."""
    return {"outcome": settlement_service.authorize(LOG, TOKENS, PROVIDER, event["order_id"])}
