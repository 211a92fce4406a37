"""Redrives messages from dead-letter and operations queues to their targets.

A message is deleted after its redrive only, so at worst it is redriven twice, which every consumer absorbs. A message
that cannot be redriven remains in its queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Meta, Struct

from operations import failed_batches
from operations.key_ranges import RecordsExpired
from operations.redrive_routes import Route
from operations.republisher import CannotPublish
from operations.workflows import Workflow
from orderflow.aws.event_bus import NotPublished
from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef
    from mypy_boto3_stepfunctions import SFNClient

    from operations.failed_batches import FailedBatches
    from operations.republisher import FailedPublications

ATTEMPTS = "redrive_attempts"
# Attributes that EventBridge sets on a dead letter (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html).
RULE = "RULE_ARN"
EVENTBRIDGE_ATTRIBUTES = frozenset({RULE, "TARGET_ARN", "ERROR_CODE", "ERROR_MESSAGE", "EXHAUSTED_RETRY_CONDITION", "RETRY_ATTEMPTS"})
_BATCH = 10
# Longer than the function's timeout, so that a run receives each message once.
_HIDDEN_SECONDS = 120

type Forward = Callable[[MessageTypeDef], None]


class InvalidRequest(ValueError):
    """The operator's request is malformed or names an unknown queue."""


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """Redrive up to `max` messages of the queue with this short name, with `once` only those that were never redriven."""

    queue: str
    max: Annotated[int, Meta(ge=1, le=1000)] = 100
    once: bool = False


class Moved(Struct, frozen=True):
    """The numbers of redriven and of failed messages."""

    queue: str
    moved: int
    failed: int


class Ids(Struct, frozen=True):
    """The workflow's input, from an order's event or a message about a failed compensation."""

    order_id: str
    correlation_id: str
    event_id: str = ""
    workflow: str = ""


class _BusEvent(Struct, frozen=True):
    detail: Ids


_ids: msgspec.json.Decoder[Ids] = msgspec.json.Decoder(Ids)
_bus_events: msgspec.json.Decoder[_BusEvent] = msgspec.json.Decoder(_BusEvent)


def request(event: object, routes: Mapping[str, Route]) -> Request:
    """Return the operator's request.

    Raises:
        InvalidRequest: it is malformed or names an unknown queue; the message says which.
    """
    try:
        wanted = msgspec.convert(event, Request)
    except msgspec.ValidationError as error:
        message = f'expected {{"queue": name, "max": 1 to 1000, "once": true or false}}: {error}'
        raise InvalidRequest(message) from None
    if wanted.queue not in routes:
        message = f"queue {wanted.queue!r} is unknown; known are {', '.join(sorted(routes))}"
        raise InvalidRequest(message)
    return wanted


class DeadLetters:
    """Redrives the queues of `routes`."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        *,
        sqs: SQSClient,
        sns: SNSClient,
        workflows: SFNClient,
        outbox: FailedPublications,
        failed_batches: FailedBatches,
    ) -> None:
        """Use these clients; `outbox` and `failed_batches` redrive failures of streams."""
        self._routes = routes
        self._outbox = outbox
        self._failed_batches = failed_batches
        self._sqs = sqs
        self._sns = sns
        self._workflows = workflows

    def move(self, wanted: Request, *, has_time: Callable[[], bool] = lambda: True) -> Moved:
        """Redrive up to `wanted.max` messages while `has_time` returns true.

        Raises:
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the queue cannot be read.
        """
        route = self._routes[wanted.queue]
        forward = self._forwarder(route)
        messages = self._messages(route, wanted.max, has_time)
        results = [self._move(route, forward, message) for message in messages if not (wanted.once and is_redriven(message))]
        return Moved(wanted.queue, results.count(True), results.count(False))

    def _messages(self, route: Route, most: int, has_time: Callable[[], bool]) -> Iterator[MessageTypeDef]:
        left = most
        while left and has_time():
            batch = self._sqs.receive_message(
                QueueUrl=route.queue_url,
                MaxNumberOfMessages=min(left, _BATCH),
                MessageAttributeNames=["All"],
                VisibilityTimeout=_HIDDEN_SECONDS,
                WaitTimeSeconds=1,
            ).get("Messages", [])
            if not batch:
                return
            left -= len(batch)
            yield from batch

    def _move(self, route: Route, forward: Forward, message: MessageTypeDef) -> bool:
        try:
            forward(message)
            self._sqs.delete_message(QueueUrl=route.queue_url, ReceiptHandle=message.get("ReceiptHandle", ""))
        except (BotoCoreError, ClientError, msgspec.MsgspecError, CannotPublish, NotPublished, RecordsExpired) as error:
            logger.warning("message_not_redriven", message_id=message.get("MessageId"), error=type(error).__name__)
            return False
        logger.info("message_redriven", message_id=message.get("MessageId"))
        return True

    def _forwarder(self, route: Route) -> Forward:
        match route.kind:
            case "queue":
                return lambda message: self._redrive(route, message)
            case "saga":
                sagas = {name: Workflow(arn, self._workflows) for name, arn in {"": route.target, **route.workflows}.items()}
                return WorkflowStarter(sagas)
            case "bus":
                return lambda message: self._outbox.publish(message.get("Body", ""))

    def _redrive(self, route: Route, message: MessageTypeDef) -> None:
        """Redrive a message to its target: EventBridge's dead letters name a rule, Lambda's messages name a stream's batch."""
        body = message.get("Body", "")
        if route.streamed and failed_batches.is_failed_batch(body):
            self._failed_batches.redrive(body, route.target, route.streamed)
        elif route.topic and RULE in (message.get("MessageAttributes") or {}):
            self._publish(route.topic, message)
        else:
            self._send(route.target, message)

    def _send(self, url: str, message: MessageTypeDef) -> None:
        self._sqs.send_message(QueueUrl=url, MessageBody=message.get("Body", ""), MessageAttributes=_counted_attributes(message))

    def _publish(self, arn: str, message: MessageTypeDef) -> None:
        self._sns.publish(TopicArn=arn, Message=message.get("Body", ""), MessageAttributes=_counted_attributes(message))


class WorkflowStarter:
    """Redrives a message by starting the workflow of its order."""

    def __init__(self, sagas: Mapping[str, Workflow]) -> None:
        """Start one of these, by the workflow name in the message; most messages have none."""
        self._sagas = sagas

    def __call__(self, message: MessageTypeDef) -> None:
        """Start the workflow once.

        Raises:
            msgspec.MsgspecError: the message names no order or an unknown workflow.
        """
        ids = ids_of(message.get("Body", ""))
        if ids.workflow not in self._sagas:
            unknown = f"workflow {ids.workflow!r} is unknown"
            raise msgspec.ValidationError(unknown)
        self._sagas[ids.workflow].start(ids.order_id, ids.correlation_id, ids.event_id)


def ids_of(body: str) -> Ids:
    """Return the workflow input of a message: a bus event, its detail, or a failed step.

    Raises:
        msgspec.DecodeError: the message has another form.
    """
    try:
        return _bus_events.decode(body).detail
    except msgspec.ValidationError:
        return _ids.decode(body)


def is_redriven(message: MessageTypeDef) -> bool:
    """Return whether a message was redriven before."""
    return ATTEMPTS in message.get("MessageAttributes", {})


def _counted_attributes(message: MessageTypeDef) -> dict[str, Any]:
    """Return the message's attributes with the attempt count increased."""
    given = message.get("MessageAttributes") or {}
    kept = {name: _attribute(value) for name, value in given.items() if name != ATTEMPTS and name not in EVENTBRIDGE_ATTRIBUTES}
    before = given[ATTEMPTS].get("StringValue", "") if ATTEMPTS in given else ""
    attempts = int(before) + 1 if before.isdecimal() else 1
    return {**kept, ATTEMPTS: {"DataType": "Number", "StringValue": str(attempts)}}


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[name] for name in ("DataType", "StringValue", "BinaryValue") if name in value}
