"""Sends emails through SES, each once."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from notifications.domain import emails
from orderflow.aws.idempotency import WRITE_SECONDS
from orderflow.aws.observability import logger, measure
from orderflow.domain import metrics

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_ses import SESClient

    from orderflow.aws.bus_event import BusEvent
    from orderflow.aws.idempotency import OncePerEvent
    from orderflow.domain.events import Event

# `orderflow.aws.clients` gives SES one attempt: 1 s to connect, 10 s to answer.
SES_SECONDS = 11
# How long an email waits for the sending rate at most, before it is sent again.
_PAUSE_SECONDS = 1.5
# SES refuses an email with one of these codes for its sending rate and for its daily quota; the message distinguishes them
# (https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html).
_THROTTLED = {"Throttling", "ThrottlingException"}
_RATE_EXCEEDED = "Maximum sending rate exceeded"


class EmailRefused(RuntimeError):
    """SES refused the email. The message is SES's error code, because its text contains the customer's address."""


class EmailSender:
    """Sends the email of an event once, also if the event is delivered again."""

    def __init__(self, sender: str, ses: SESClient, once: OncePerEvent[str]) -> None:
        """Send from the address `sender`; `once` records the events whose email was sent."""
        self.sender = sender
        self.ses = ses
        self.once = once

    def notify(self, delivered: BusEvent, context: LambdaContext) -> None:
        """Send the email of an event, unless it was sent before or the event is replayed from the archive.

        Raises:
            NoEmail: this event leads to no email.
            IdempotencyAlreadyInProgressError: another delivery of the event is in progress.
            TooLittleTimeError: the invocation may time out before SES answers.
            EmailRefused: SES refused the email.
        """
        if delivered.replay_name:
            logger.info("email_skipped_for_replay", replay=delivered.replay_name)
            return
        email = emails.compose(delivered.event)
        self.once.perform(delivered.event, lambda: self._send(email, delivered.event, context), context)

    def _send(self, email: emails.Email, event: Event, context: LambdaContext) -> str:
        """Send an email and return its SES message id. Above the sending rate, the email waits while the invocation has time.

        Raises:
            EmailRefused: SES refused the email.
        """
        while True:
            try:
                message_id = self._request(email, event)
            except ClientError as error:
                if not _is_rate_exceeded(error) or not _has_time(context):
                    raise EmailRefused(error.response.get("Error", {}).get("Code", "unknown")) from None
                time.sleep(random.uniform(0.1, _PAUSE_SECONDS))  # noqa: S311 - jitter, not a secret
            else:
                break
        delay = datetime.now(UTC) - event.appended_at
        measure(metrics.EMAIL_DELAY_SECONDS, max(0.0, round(delay.total_seconds(), 3)))
        logger.info("email_sent", type=event.type, email_id=message_id)
        return message_id

    def _request(self, email: emails.Email, event: Event) -> str:
        return self.ses.send_email(
            Source=self.sender,
            Destination={"ToAddresses": [email.to]},
            Message={
                "Subject": {"Data": email.subject, "Charset": "UTF-8"},
                "Body": {"Text": {"Data": email.text, "Charset": "UTF-8"}},
            },
            Tags=[
                {"Name": "type", "Value": event.type},
                {"Name": "order_id", "Value": event.order_id},
                {"Name": "order_version", "Value": str(event.order_version)},
            ],
        )["MessageId"]


def _is_rate_exceeded(refused: ClientError) -> bool:
    """Return whether SES refused an email, which was not sent, because of the sending rate alone."""
    error = refused.response.get("Error", {})
    return error.get("Code") in _THROTTLED and _RATE_EXCEEDED in error.get("Message", "")


def _has_time(context: LambdaContext) -> bool:
    """Return whether the invocation has time to wait once more, and then to send and to record the email."""
    return context.get_remaining_time_in_millis() > (_PAUSE_SECONDS + SES_SECONDS + WRITE_SECONDS) * 1000
