"""Saga step: screens the order for fraud and approves, holds or refuses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from fraud import screening
from fraud.domain import fraud_rules
from fraud.order_history import OrderHistory
from orderflow.aws import settings
from orderflow.aws.clients import client
from orderflow.aws.flags import Flags
from orderflow.aws.observability import observed
from orderflow.aws.order_log import OrderLog

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
HISTORY = OrderHistory(settings.required("FRAUD_TABLE"), client("dynamodb"))
FLAGS = Flags(fraud_rules.parse_flags, fraud_rules.FraudFlags())


class Step(TypedDict):
    """Input of the saga step."""

    order_id: str
    correlation_id: str


class Result(TypedDict):
    """Output of the saga step, read by the saga's Choice state."""

    outcome: screening.ScreenOutcome


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Return `approved`, `held` or `refused`, or the state that blocks the saga."""
    return {"outcome": screening.screen(LOG, HISTORY, FLAGS, event["order_id"])}
