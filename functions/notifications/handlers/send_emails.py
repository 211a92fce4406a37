"""Sends the emails of a batch of events, one email per event, and the alerts to operators.

A message without an event, or for a customer without an address, fails alone and ends in the dead-letter queue.
Events replayed from the archive send nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from notifications.alert_limit import AlertLimit
from notifications.domain import emails
from notifications.email_sender import SES_SECONDS, EmailSender
from notifications.operator_alerts import SNS_SECONDS, OperatorAlerts
from orderflow.aws import bus_event, settings
from orderflow.aws.batch import PartialFailures, process_messages
from orderflow.aws.clients import client
from orderflow.aws.idempotency import OncePerEvent
from orderflow.aws.observability import instrumented

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from orderflow.aws.bus_event import BusEvent

SENDER = EmailSender(
    settings.required("MAIL_FROM"),
    client("ses"),
    OncePerEvent[str]("mail", settings.required("IDEMPOTENCY_TABLE"), client("dynamodb"), effect_seconds=SES_SECONDS),
)
ALERTS = OperatorAlerts(
    settings.required("OPERATORS_TOPIC"),
    client("sns"),
    OncePerEvent[str]("operator_alert", settings.required("IDEMPOTENCY_TABLE"), client("dynamodb"), effect_seconds=SNS_SECONDS),
    AlertLimit(settings.required("IDEMPOTENCY_TABLE"), client("dynamodb")),
)


@instrumented
def handler(event: dict[str, Any], context: LambdaContext) -> PartialFailures:
    """Return the SQS messages that must be redelivered."""
    return process_messages(event, lambda body: _notify(bus_event.decode(body), context))


def _notify(delivered: BusEvent, context: LambdaContext) -> None:
    """Publish the event's alert and send its email, if it has them. A replayed event has neither."""
    alerted = not delivered.replay_name and ALERTS.publish(delivered.event, context)
    if not alerted or emails.leads_to_email(delivered.event):
        SENDER.notify(delivered, context)
