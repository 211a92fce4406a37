"""Mails customers when their order is confirmed, held, rejected, cancelled, sent or paid back, once per event.

A topic fans the events out to a queue, which this function reads. Deliveries are repeated; the record
of Powertools Idempotency under the event's id makes all but one of them do nothing. A delivery that
finds another one in progress fails and comes back later: by then the other one has either finished, and
nothing is left to do, or died, and its claim has expired.

SES has no idempotency key and no way to ask whether it took a mail. So these repetitions remain:

- the process dies after SES took the mail and before the record says so;
- SES takes the mail and its answer is lost, or is an error of the server;
- the record could not be written until the invocation ended nor by this process later, and the message
  is delivered again although it was deleted from the queue. An error is logged then.

The message comes back in the first two cases, and the same mail is sent a second time. The alternative
is that some customers never hear of their order. The mails are equal, and their tags (order_id,
order_version) identify such a pair in SES's own events.

A message that cannot be read, or has no address, fails alone and ends in the dead-letter queue.
Events replayed from the archive send nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from notifications.domain import emails
from orderflow.aws import settings
from orderflow.aws.batch import PartialFailures, each_record
from orderflow.aws.clients import client
from orderflow.aws.idempotency import OncePerEvent
from orderflow.aws.observability import identify, logger, observed
from orderflow.domain import events

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

MAIL_FROM = settings.required("MAIL_FROM")
SES = client("ses")
# `orderflow.aws.clients` gives SES one attempt: 1 s to connect, 10 s to answer.
SES_SECONDS = 11
ONCE = OncePerEvent[str]("mail", settings.required("IDEMPOTENCY_TABLE"), client("dynamodb"), effect_seconds=SES_SECONDS)


class EmailRefused(RuntimeError):
    """SES refused the mail. The message is SES's error code: its text has the customer's address."""


class BusEvent(msgspec.Struct):
    """What EventBridge delivers; `detail` is our own envelope."""

    detail: msgspec.Raw
    replay_name: str | None = msgspec.field(default=None, name="replay-name")


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> PartialFailures:
    """Answer a batch of SQS messages with those that have to come back."""
    return each_record(event, lambda body: notify(body, context))


def notify(body: str, context: LambdaContext) -> None:
    """Send the mail for one message, unless it was sent before or the event is only replayed.

    Raises:
        msgspec.DecodeError, UnknownEvent, Unmailable: the message will never lead to a mail.
        IdempotencyAlreadyInProgressError: another delivery of it is being worked on.
        TooLittleTimeError: the invocation may end while SES is asked.
        NotSent: SES refused it.
    """
    delivered = msgspec.json.decode(body, type=BusEvent)
    event = events.decode(bytes(delivered.detail))
    identify(correlation_id=event.correlation_id, order_id=event.order_id, event_id=event.event_id)
    if delivered.replay_name:
        logger.info("replayed, so no mail", replay=delivered.replay_name)
        return
    mail = emails.compose(event)
    ONCE.perform(event, lambda: send(mail, event), context)


def send(mail: emails.Email, event: events.Event) -> str:
    """Hand the mail to SES and return the id it was given there.

    Raises:
        NotSent: SES refused it.
    """
    try:
        answer = SES.send_email(
            Source=MAIL_FROM,
            Destination={"ToAddresses": [mail.to]},
            Message={
                "Subject": {"Data": mail.subject, "Charset": "UTF-8"},
                "Body": {"Text": {"Data": mail.text, "Charset": "UTF-8"}},
            },
            Tags=[
                {"Name": "type", "Value": event.type},
                {"Name": "order_id", "Value": event.order_id},
                {"Name": "order_version", "Value": str(event.order_version)},
            ],
        )
    except ClientError as error:
        raise EmailRefused(error.response.get("Error", {}).get("Code", "unknown")) from None
    logger.info("mail sent", type=event.type, mail_id=answer["MessageId"])
    return answer["MessageId"]
