"""Saga step: authorizes the order's total at the payment provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented
from orderflow.aws.payment_tokens import PaymentTokens
from orderflow.aws.saga_step import timed_step
from payments import settlement_service
from payments.dependencies import LOG, PROVIDER

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.saga_step import StepInput, StepResult

TOKENS = PaymentTokens(settings.required("PAYMENT_TOKENS_TABLE"), client("dynamodb"))


@instrumented
@timed_step("authorize")
def handler(event: StepInput, _context: LambdaContext) -> StepResult[settlement_service.AuthorizeOutcome]:
    """Return `authorized` or `declined`, or the state that blocks the saga. Idempotent."""
    return {"outcome": settlement_service.authorize(LOG, TOKENS, PROVIDER, event["order_id"])}
