"""Invoked by an operator: moves messages that wait in a queue back to where they were meant to go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from operations import dead_letters, redrive_routes
from operations.failed_batches import FailedBatches
from operations.republisher import Republisher
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
REPUBLISHER = Republisher(settings.required("ORDER_LOG_TABLE"), PUBLISHER, dynamodb=client("dynamodb"), streams=client("dynamodbstreams"))
FAILED_BATCHES = FailedBatches(kinesis=client("kinesis"), table_streams=client("dynamodbstreams"), sqs=client("sqs"))
DEAD_LETTERS = dead_letters.DeadLetters(
    ROUTES, sqs=client("sqs"), sns=client("sns"), workflows=client("stepfunctions"), outbox=REPUBLISHER, given_up=FAILED_BATCHES
)
# Enough for the batch in hand, so that a run never ends between passing a message on and deleting it.
_RESERVE_MILLISECONDS = 15_000


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer how many messages of the queue were moved and how many could not be."""
    wanted = dead_letters.request(event, ROUTES)
    moved = DEAD_LETTERS.move(wanted, has_time=lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)
    return msgspec.to_builtins(moved)
