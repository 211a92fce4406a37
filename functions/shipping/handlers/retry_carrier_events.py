"""Queue consumer: records carrier events that the webhook could not record.

An event that arrived too early is retried with exponential backoff, for ten minutes in all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from orderflow.aws import settings
from orderflow.aws.batch import PartialFailures, process_messages
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented, logger
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
TRACK_QUEUE_URL = settings.required("SHIPPING_TRACK_QUEUE_URL")


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Process a batch of SQS messages and return the failed ones."""
    answer = process_messages(event, _record)
    failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    for record in event["Records"]:
        if record["messageId"] in failed:
            _delay_retry(record)
    return answer


def _record(body: str) -> None:
    """Record an event, and begin the watch of a parcel with a temperature range."""
    if carrier_event_recorder.record(LOG, carrier_events.carrier_event_decoder.decode(body)):
        SQS.send_message(QueueUrl=TRACK_QUEUE_URL, MessageBody=body)


def retry_delay_seconds(receives: int) -> int:
    """Return the delay before the next retry of a message that was received this often."""
    return min(MIN_DELAY_SECONDS * 2 ** (receives - 1), MAX_DELAY_SECONDS)


def _delay_retry(record: dict[str, Any]) -> None:
    """Set the delay of the message's next retry; if SQS refuses, the queue's visibility timeout applies."""
    seconds = retry_delay_seconds(int(record["attributes"]["ApproximateReceiveCount"]))
    try:
        SQS.change_message_visibility(QueueUrl=QUEUE_URL, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=seconds)
    except (BotoCoreError, ClientError):
        logger.warning("retry_delay_not_set", message_id=record["messageId"], exc_info=True)
