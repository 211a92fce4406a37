"""The publisher: publishes every event of the order log's table stream to the event stream, and most of them to the event bus.

Events are published at least once: if bus or stream refuse an event, the batch raises and is retried, so events may be duplicated or out
of order. Consumers deduplicate by event id and order by version. A malformed record is dead-lettered, so that its shard continues.
Events of sampled orders are marked as published, for `publish_missing_events`.

No code overwrites or deletes an item of the log; if that happens, it is reported and not published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderflow.aws import publisher, settings
from orderflow.aws.clients import client
from orderflow.aws.observability import instrumented
from orderflow.aws.outbox_index import OutboxIndex
from orders.stream_publication import StreamPublication

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

PUBLISHER = publisher.from_environment()
OUTBOX = OutboxIndex(settings.required("ORDER_LOG_TABLE"), client("dynamodb"))
PUBLICATION = StreamPublication(PUBLISHER, OUTBOX, client("sqs"), settings.required("PUBLISH_DEAD_LETTERS_URL"))


@instrumented
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, int]:
    """Publish a batch of the table's stream and return the number of events."""
    return {"published": PUBLICATION.publish(event["Records"])}
