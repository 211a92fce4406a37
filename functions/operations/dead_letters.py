"""Moving messages from a queue where they wait for an operator to where they were meant to go.

A message is deleted only after it was passed on, so at worst it is passed on twice, which every
consumer takes. One that cannot be passed on stays where it is.
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
# What EventBridge notes on a dead letter (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html).
RULE = "RULE_ARN"
NOTED = frozenset({RULE, "TARGET_ARN", "ERROR_CODE", "ERROR_MESSAGE", "EXHAUSTED_RETRY_CONDITION", "RETRY_ATTEMPTS"})
_BATCH = 10
# Longer than the function may run, so that no message is met twice in one run.
_HIDDEN_SECONDS = 120

type Forward = Callable[[MessageTypeDef], None]


class InvalidRequest(ValueError):
    """What the operator asked for is not a redrive."""


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """Move up to `max` messages of the queue with this short name."""

    queue: str
    max: Annotated[int, Meta(ge=1, le=1000)] = 100


class Moved(Struct, frozen=True):
    """How many messages were moved, and how many were left because they could not be."""

    queue: str
    moved: int
    failed: int


class Ids(Struct, frozen=True):
    """What the saga needs of an order's event, or of a message about a failed compensation."""

    order_id: str
    correlation_id: str
    event_id: str = ""
    workflow: str = ""


class _BusEvent(Struct, frozen=True):
    detail: Ids


_ids: msgspec.json.Decoder[Ids] = msgspec.json.Decoder(Ids)
_bus_events: msgspec.json.Decoder[_BusEvent] = msgspec.json.Decoder(_BusEvent)


def request(event: object, routes: Mapping[str, Route]) -> Request:
    """Read what the operator asked for.

    Raises:
        InvalidRequest: in words for the operator, what is wrong with it.
    """
    try:
        wanted = msgspec.convert(event, Request)
    except msgspec.ValidationError as error:
        message = f'expected {{"queue": name, "max": 1 to 1000}}: {error}'
        raise InvalidRequest(message) from None
    if wanted.queue not in routes:
        message = f"there is no queue {wanted.queue!r}; known are {', '.join(sorted(routes))}"
        raise InvalidRequest(message)
    return wanted


class DeadLetters:
    """Passes on what lies in the queues of `routes`."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        *,
        sqs: SQSClient,
        sns: SNSClient,
        workflows: SFNClient,
        outbox: FailedPublications,
        given_up: FailedBatches,
    ) -> None:
        """Use these clients for what the routes name, and for what streams did not carry the outbox and `given_up`."""
        self._routes = routes
        self._outbox = outbox
        self._given_up = given_up
        self._sqs = sqs
        self._sns = sns
        self._workflows = workflows

    def move(self, wanted: Request, *, has_time: Callable[[], bool] = lambda: True) -> Moved:
        """Pass on up to `wanted.max` messages, for as long as `goes_on` says.

        Raises:
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the queue cannot be read.
        """
        route = self._routes[wanted.queue]
        forward = self._forwarder(route)
        results = [self._move(route, forward, message) for message in self._messages(route, wanted.max, has_time)]
        return Moved(wanted.queue, results.count(True), results.count(False))

    def _messages(self, route: Route, most: int, goes_on: Callable[[], bool]) -> Iterator[MessageTypeDef]:
        left = most
        while left and goes_on():
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
            logger.warning("not moved", message_id=message.get("MessageId"), error=type(error).__name__)
            return False
        logger.info("moved", message_id=message.get("MessageId"))
        return True

    def _forwarder(self, route: Route) -> Forward:
        match route.kind:
            case "queue":
                return lambda message: self._send_back(route, message)
            case "saga":
                sagas = {name: Workflow(arn, self._workflows) for name, arn in {"": route.target, **route.workflows}.items()}
                return WorkflowStarter(sagas)
            case "bus":
                return lambda message: self._outbox.publish(message.get("Body", ""))

    def _send_back(self, route: Route, message: MessageTypeDef) -> None:
        """Send a message to where it was meant to go: EventBridge names the rule in an attribute, Lambda's notes name a stream."""
        body = message.get("Body", "")
        if route.streamed and failed_batches.is_note(body):
            self._given_up.redrive(body, route.target, route.streamed)
        elif route.topic and RULE in (message.get("MessageAttributes") or {}):
            self._publish(route.topic, message)
        else:
            self._send(route.target, message)

    def _send(self, url: str, message: MessageTypeDef) -> None:
        self._sqs.send_message(QueueUrl=url, MessageBody=message.get("Body", ""), MessageAttributes=_counted_attributes(message))

    def _publish(self, arn: str, message: MessageTypeDef) -> None:
        self._sns.publish(TopicArn=arn, Message=message.get("Body", ""), MessageAttributes=_counted_attributes(message))


class WorkflowStarter:
    """Passes a message on by running the saga, or the other workflow, of the order that it is about."""

    def __init__(self, sagas: Mapping[str, Workflow]) -> None:
        """Run one of these, by the name of the workflow that a message came from; most messages give none."""
        self._sagas = sagas

    def __call__(self, message: MessageTypeDef) -> None:
        """Run it once.

        Raises:
            msgspec.MsgspecError: the message is not about an order, or from no workflow that is known.
        """
        ids = ids_of(message.get("Body", ""))
        if ids.workflow not in self._sagas:
            unknown = f"there is no workflow {ids.workflow!r}"
            raise msgspec.ValidationError(unknown)
        self._sagas[ids.workflow].start(ids.order_id, ids.correlation_id, ids.event_id)


def ids_of(body: str) -> Ids:
    """Return whose saga a message is about: it is an event as the bus delivers it, its detail, or a failed step.

    Raises:
        msgspec.DecodeError: it is none of these.
    """
    try:
        return _bus_events.decode(body).detail
    except msgspec.ValidationError:
        return _ids.decode(body)


def _counted_attributes(message: MessageTypeDef) -> dict[str, Any]:
    """Return the message's own attributes with one more attempt counted."""
    given = message.get("MessageAttributes") or {}
    kept = {name: _attribute(value) for name, value in given.items() if name != ATTEMPTS and name not in NOTED}
    before = given[ATTEMPTS].get("StringValue", "") if ATTEMPTS in given else ""
    attempts = int(before) + 1 if before.isdecimal() else 1
    return {**kept, ATTEMPTS: {"DataType": "Number", "StringValue": str(attempts)}}


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[name] for name in ("DataType", "StringValue", "BinaryValue") if name in value}
