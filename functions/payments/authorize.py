"""Saga step: hold the order's total with the payment provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from orderflow import settings
from orderflow.clients import client
from orderflow.observability import observed
from orderflow.payment_tokens import PaymentTokens
from payments import service
from payments.steps import LOG, PROVIDER, Step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

TOKENS = PaymentTokens(settings.required("PAYMENT_TOKENS_TABLE"), client("dynamodb"))


class Result(TypedDict):
    """What the step answers; the saga's Choice reads it."""

    outcome: service.AuthorizeOutcome


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Answer `authorized` or `declined`, also for an order that was before; otherwise what it is instead."""
    return {"outcome": service.authorize(LOG, TOKENS, PROVIDER, event["order_id"])}
