"""Sends the emails of a batch of events, one email per event.

A message without an event, or for a customer without an address, fails alone and ends in the dead-letter queue.
Events replayed from the archive send nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from notifications.email_sender import SES_SECONDS, EmailSender
from orderflow.aws import bus_event, settings
from orderflow.aws.batch import PartialFailures, process_messages
from orderflow.aws.clients import client
from orderflow.aws.idempotency import OncePerEvent
from orderflow.aws.observability import instrumented

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

SENDER = EmailSender(
    settings.required("MAIL_FROM"),
    client("ses"),
    OncePerEvent[str]("mail", settings.required("IDEMPOTENCY_TABLE"), client("dynamodb"), effect_seconds=SES_SECONDS),
)


@instrumented
def handler(event: dict[str, Any], context: LambdaContext) -> PartialFailures:
    """Return the SQS messages that must be redelivered."""
    return process_messages(event, lambda body: SENDER.notify(bus_event.decode(body), context))
