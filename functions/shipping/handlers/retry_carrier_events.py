"""Works off what the carrier told and the webhook could not record: each message becomes a fact of its order, or comes again.

One that came before its time is tried again soon, and then ever more seldom, for ten minutes in all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from orderflow.aws import settings
from orderflow.aws.batch import PartialFailures, each_record
from orderflow.aws.clients import client
from orderflow.aws.observability import logger, observed
from orderflow.aws.order_log import OrderLog
from shipping import carrier_event_recorder
from shipping.domain import carrier_events

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

MIN_DELAY_SECONDS = 2
MAX_DELAY_SECONDS = 180

SQS = client("sqs")
LOG = OrderLog(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
QUEUE_URL = settings.required("SHIPPING_RECORD_QUEUE_URL")


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Answer a batch of SQS messages with those that have to come back."""
    answer = each_record(event, lambda body: carrier_event_recorder.record(LOG, carrier_events.carrier_event_decoder.decode(body)))
    failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    for record in event["Records"]:
        if record["messageId"] in failed:
            _delay_retry(record)
    return answer


def retry_delay_seconds(receives: int) -> int:
    """Return how long a message that came so often is hidden before it comes again."""
    return min(MIN_DELAY_SECONDS * 2 ** (receives - 1), MAX_DELAY_SECONDS)


def _delay_retry(record: dict[str, Any]) -> None:
    """Have SQS bring a message again after its time; where it does not take that, the queue's own time counts."""
    seconds = retry_delay_seconds(int(record["attributes"]["ApproximateReceiveCount"]))
    try:
        SQS.change_message_visibility(QueueUrl=QUEUE_URL, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=seconds)
    except (BotoCoreError, ClientError):
        logger.warning("comes again when the queue says", message_id=record["messageId"], exc_info=True)
