"""Saga step: screens the order for fraud and approves, holds or refuses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fraud import screening
from fraud.domain import fraud_rules
from fraud.order_history import OrderHistory
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.flags import Flags
from orderflow.aws.observability import instrumented
from orderflow.aws.order_log import OrderLog
from orderflow.aws.saga_step import timed_step

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.saga_step import StepInput, StepResult

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
HISTORY = OrderHistory(settings.required("FRAUD_TABLE"), client("dynamodb"))
FLAGS = Flags(fraud_rules.parse_flags, fraud_rules.FraudFlags())
# A stack without the context of reviews has no workflow in which a held order could be decided on.
REVIEWED = bool(settings.optional("REVIEW_WORKFLOW", ""))


@instrumented
@timed_step("screen")
def handler(event: StepInput, _context: LambdaContext) -> StepResult[screening.ScreenOutcome]:
    """Return `approved`, `held` or `refused`, or the state that blocks the saga."""
    return {"outcome": screening.screen(LOG, HISTORY, FLAGS, event["order_id"], reviewed=REVIEWED)}
