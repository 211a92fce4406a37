"""Invoked by an operator: moves messages that wait in a queue back to where they were meant to go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from operations import dead_letters, redrive_routes
from operations.failed_batches import GivenUp
from operations.republisher import Outbox
from orderflow.aws import publisher, settings
from orderflow.aws.clients import client
from orderflow.aws.observability import observed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ROUTES = redrive_routes.routes(
    settings.required("OPERATIONS_QUEUE_URL"),
    topic=settings.required("NOTIFICATIONS_TOPIC"),
    saga=settings.required("SAGA_ARN"),
    review=settings.required("REVIEW_ARN"),
)
PUBLISHER = publisher.from_environment()
OUTBOX = Outbox(settings.required("ORDER_LOG_TABLE"), PUBLISHER, dynamodb=client("dynamodb"), streams=client("dynamodbstreams"))
GIVEN_UP = GivenUp(kinesis=client("kinesis"), table_streams=client("dynamodbstreams"), sqs=client("sqs"))
DEAD_LETTERS = dead_letters.DeadLetters(
    ROUTES, sqs=client("sqs"), sns=client("sns"), workflows=client("stepfunctions"), outbox=OUTBOX, given_up=GIVEN_UP
)
# Enough for the batch in hand, so that a run never ends between passing a message on and deleting it.
_RESERVE_MILLISECONDS = 15_000


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer how many messages of the queue were moved and how many could not be."""
    wanted = dead_letters.request(event, ROUTES)
    moved = DEAD_LETTERS.move(wanted, goes_on=lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)
    return msgspec.to_builtins(moved)
