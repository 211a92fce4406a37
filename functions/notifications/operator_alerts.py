"""Publishes alerts to operators on the topic of the alarms, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notifications.domain import alert_texts
from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_sns import SNSClient

    from orderflow.aws.idempotency import OncePerEvent
    from orderflow.domain.events import Event

# `orderflow.aws.clients`: three attempts of 3 s.
SNS_SECONDS = 9
_SUBJECT = "Parcel condition"


class OperatorAlerts:
    """Publishes the alert of an event once, also if the event is delivered again."""

    def __init__(self, topic: str, sns: SNSClient, once: OncePerEvent[str]) -> None:
        """Publish on the topic with this ARN; `once` records the events whose alert was published."""
        self._topic = topic
        self._sns = sns
        self._once = once

    def publish(self, event: Event, context: LambdaContext) -> bool:
        """Publish the alert of an event, unless it was published before; return whether the event has one.

        Raises:
            IdempotencyAlreadyInProgressError: another delivery of the event is in progress.
            TooLittleTimeError: the invocation may time out before SNS answers.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the alert may not be published.
        """
        text = alert_texts.compose(event)
        if text is None:
            return False
        self._once.perform(event, lambda: self._publish(text, event.type), context)
        return True

    def _publish(self, text: str, kind: str) -> str:
        answer = self._sns.publish(TopicArn=self._topic, Subject=_SUBJECT, Message=text)
        logger.info("alert_published", type=kind, message_id=answer["MessageId"])
        return answer["MessageId"]
