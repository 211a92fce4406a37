"""Queue consumer: processes webhook events that payments.handlers.receive_webhook verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow.aws.batch import PartialFailures, process_messages
from orderflow.aws.observability import annotate, instrumented
from payments import webhook_consumer
from payments.dependencies import LOG, PROVIDER
from payments.domain import payment_keys

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Process a batch of SQS messages and return the failed ones."""
    return process_messages(event, process_body)


def process_body(body: str) -> None:
    """Process one message; events about unknown payments are ignored.

    Raises:
        msgspec.DecodeError: the message is malformed.
        Exception: see PaymentProvider.parse_webhook and webhook_consumer.process; the queue retries the message.
    """
    for webhook_event in PROVIDER.parse_webhook(body):
        annotate(event_id=webhook_event.message_id, order_id=payment_keys.order_id_of(webhook_event.payment))
        webhook_consumer.process(LOG, PROVIDER, webhook_event)
