"""Works off what the payment provider tells, after payments.handlers.receive_webhook made sure that the provider did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow.aws.batch import PartialFailures, each_record
from orderflow.aws.observability import identify, observed
from payments import settlement_service, webhook_consumer
from payments.dependencies import LOG, PROVIDER

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@observed
def handler(event: dict[str, Any], _context: LambdaContext) -> PartialFailures:
    """Answer a batch of SQS messages with those that have to come back."""
    return each_record(event, process_body)


def process_body(body: str) -> None:
    """Take one message of the provider; one that says nothing of a payment of ours is well.

    Raises:
        msgspec.DecodeError: it is none.
        Exception: what PaymentProvider.parse_webhook and webhook_consumer.process raise; the message comes again.
    """
    for told in PROVIDER.parse_webhook(body):
        identify(event_id=told.message_id, order_id=settlement_service.order_id_of(told.payment))
        webhook_consumer.process(LOG, PROVIDER, told)
