"""Works off what the carrier tells of parcels and returns: each message becomes a fact of its order, or comes again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow import settings
from orderflow.batch import PartialFailures, each_record
from orderflow.clients import client
from orderflow.log import OrderLog
from orderflow.observability import observed
from shipping import messages, parcels

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Answer a batch of SQS messages with those that have to come back."""
    return each_record(event, lambda body: parcels.record(LOG, messages.told.decode(body)))
