"""Saga step: hold the order's total with the payment provider."""

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
    """What the step answers; the saga's Choice reads it."""

    outcome: settlement_service.AuthorizeOutcome


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Answer `authorized` or `declined`, also for an order that was before; otherwise what it is instead."""
    return {"outcome": settlement_service.authorize(LOG, TOKENS, PROVIDER, event["order_id"])}
