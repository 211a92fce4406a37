"""Publishes alerts to operators on the topic of the alarms, each once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from notifications.alert_limit import MOST_AN_HOUR
from notifications.domain import alert_texts
from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_sns import SNSClient

    from notifications.alert_limit import AlertLimit
    from orderflow.aws.idempotency import OncePerEvent
    from orderflow.domain.events import Event

# `orderflow.aws.clients`: three attempts of 3 s.
SNS_SECONDS = 9
_SUBJECT = "Parcel alert"


class OperatorAlerts:
    """Publishes the alert of an event once, also if the event is delivered again."""

    def __init__(self, topic: str, sns: SNSClient, once: OncePerEvent[str], limit: AlertLimit) -> None:
        """Publish on the topic with this ARN; `once` records the events whose alert was published, `limit` counts them."""
        self._topic = topic
        self._sns = sns
        self._once = once
        self._limit = limit

    def publish(self, event: Event, context: LambdaContext) -> bool:
        """Publish the alert of an event, unless it was published before or is above the limit; return whether the event has one.

        Raises:
            IdempotencyAlreadyInProgressError: another delivery of the event is in progress.
            TooLittleTimeError: the invocation may time out before SNS answers.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the alert may not be published.
        """
        alert = alert_texts.compose(event)
        if alert is None:
            return False
        now = datetime.now(UTC)
        number = self._limit.take(alert.kind, event.event_id, now)
        if number:
            text = alert.text + (alert_texts.last_of(now, number) if number == MOST_AN_HOUR else "")
            self._once.perform(event, lambda: self._publish(text, event.type), context)
        else:
            logger.info("alert_above_limit", type=event.type)
        return True

    def _publish(self, text: str, kind: str) -> str:
        answer = self._sns.publish(TopicArn=self._topic, Subject=_SUBJECT, Message=text)
        logger.info("alert_published", type=kind, message_id=answer["MessageId"])
        return answer["MessageId"]
