"""Saga step: let the order go on, hold it for a person, or refuse it."""

from __future__ import annotations

from functools import partial
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
TIMES = OrderHistory(settings.required("FRAUD_TABLE"), client("dynamodb"))
RULES = settings.optional("FRAUD_RULES", "{}")
FLAGS = Flags(partial(fraud_rules.parse_flags, fraud=RULES), fraud_rules.FraudFlags(fraud=fraud_rules.parse_thresholds(RULES)))


class Step(TypedDict):
    """What the saga gives the step."""

    order_id: str
    correlation_id: str


class Result(TypedDict):
    """What the step answers; the saga's Choice reads it."""

    outcome: screening.ScreenOutcome


@observed
def handler(event: Step, _context: LambdaContext) -> Result:
    """Answer `approved`, `held` or `refused`, also for an order screened before."""
    return {"outcome": screening.screen(LOG, TIMES, FLAGS, event["order_id"])}
