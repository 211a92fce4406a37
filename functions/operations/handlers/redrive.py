"""Invoked by an operator: redrives messages of a dead-letter queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from operations import dead_letters, redrive_routes
from operations.failed_batches import FailedBatches
from operations.republisher import EventReader, FailedPublications, Republisher
from orderflow.aws import publisher, settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

ROUTES = redrive_routes.routes(
    settings.required("OPERATIONS_QUEUE_URL"),
    topic=settings.required("NOTIFICATIONS_TOPIC"),
    saga=settings.required("SAGA_ARN"),
    workflows={redrive_routes.REVIEW: settings.required("REVIEW_ARN")},
)
REPUBLISHER = Republisher(EventReader(settings.required("ORDER_LOG_TABLE"), client("dynamodb")), publisher.from_environment())
FAILED_PUBLICATIONS = FailedPublications(REPUBLISHER, client("dynamodbstreams"))
FAILED_BATCHES = FailedBatches(kinesis=client("kinesis"), table_streams=client("dynamodbstreams"), sqs=client("sqs"))
DEAD_LETTERS = dead_letters.DeadLetters(
    ROUTES,
    sqs=client("sqs"),
    sns=client("sns"),
    workflows=client("stepfunctions"),
    outbox=FAILED_PUBLICATIONS,
    failed_batches=FAILED_BATCHES,
)
# Enough for one batch, so that a run never times out between forwarding a message and deleting it.
_RESERVE_MILLISECONDS = 15_000


@instrumented
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Return how many messages were redriven, and how many could not be."""
    wanted = dead_letters.request(event, ROUTES)
    moved = DEAD_LETTERS.move(wanted, has_time=lambda: context.get_remaining_time_in_millis() > _RESERVE_MILLISECONDS)
    return msgspec.to_builtins(moved)
