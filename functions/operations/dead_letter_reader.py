"""Reads a sample of a dead-letter queue and finds the cause of each message's failure.

EventBridge writes it to an attribute, the publisher and the workflows to the message, and every other consumer to its log.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from operations.dead_letters import is_redriven
from operations.domain.alarm_signals import cause_of
from operations.domain.remediation import DeadLetter
from operations.redrive_routes import dead_letters

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

    from operations.consumers import Consumers

_SAMPLE = 10
_ERROR_CODE = "ERROR_CODE"


class _Failed(Struct, frozen=True):
    error: str = ""


_failed = msgspec.json.Decoder(_Failed)


class DeadLetterReader:
    """Reads dead letters, by the short names of their queues."""

    def __init__(self, queue_prefix: str, consumers: Consumers, sqs: SQSClient) -> None:
        """Use this client; `queue_prefix` begins the queues' URLs."""
        self._prefix = queue_prefix
        self._consumers = consumers
        self._sqs = sqs

    def sample(self, queue: str) -> tuple[DeadLetter, ...]:
        """Return up to ten of the dead letters, which remain visible to other consumers."""
        messages = self._sqs.receive_message(
            QueueUrl=self._prefix + dead_letters(queue),
            MaxNumberOfMessages=_SAMPLE,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
            VisibilityTimeout=0,
            WaitTimeSeconds=1,
        ).get("Messages", [])
        errors = {message.get("MessageId", ""): _own_error(message) for message in messages}
        if not all(errors.values()):
            logged = self._consumers.failures(queue, min(map(_sent_at, messages)))
            errors = {name: error or logged.get(name, logged.get("", "")) for name, error in errors.items()}
        return tuple(DeadLetter(cause_of(errors[message.get("MessageId", "")]), is_redriven(message)) for message in messages)


def _own_error(message: MessageTypeDef) -> str:
    """Return the error that the message itself names."""
    attribute = message.get("MessageAttributes", {}).get(_ERROR_CODE)
    if attribute:
        return attribute.get("StringValue", "")
    try:
        return _failed.decode(message.get("Body", "")).error
    except msgspec.DecodeError:
        return ""


def _sent_at(message: MessageTypeDef) -> datetime:
    return datetime.fromtimestamp(int(message.get("Attributes", {}).get("SentTimestamp", "0")) / 1000, UTC)
