"""Publishing the events that the log has and the bus does not have, though it should by now."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from operations.republisher import CannotPublish
from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from operations.republisher import EventReader
    from orderflow.aws.outbox_index import OutboxIndex, PendingEvent
    from orderflow.aws.publisher import Publisher

# So many are published well within the function's time; the others wait for the next run.
MAX_EVENTS = 200


class MissingEventsNotPublished(RuntimeError):
    """Some events that are not on the bus could not be put there."""


class MissingEvents(Struct, frozen=True):
    """What a run found and did: how many events were overdue, published, and not; for how many seconds the oldest one was waiting."""

    overdue: int
    published: int
    failed: int
    oldest_seconds: int


def publish_missing(
    unpublished: OutboxIndex, written: EventReader, outlets: Publisher, *, now: datetime, overdue_after: timedelta
) -> MissingEvents:
    """Publish every sampled event that has waited for longer than `overdue_after`, oldest first, and log each.

    At most MOST are found. Whoever gets one that was published takes it as the duplicate that it is. One that
    never can be stays and counts as overdue until somebody mends it.
    """
    found = unpublished.oldest_first(now - overdue_after, MAX_EVENTS)
    results = [_publish(unpublished, written, outlets, event) for event in found]
    return MissingEvents(
        overdue=len(found),
        published=results.count("published"),
        failed=results.count("failed"),
        oldest_seconds=int((now - found[0].since).total_seconds()) if found else 0,
    )


def _publish(unpublished: OutboxIndex, written: EventReader, outlets: Publisher, event: PendingEvent) -> str:
    about: dict[str, Any] = {"order_id": event.order_id, "version": event.version, "since": event.since.isoformat()}
    try:
        written.publish(outlets, [(event.order_id, event.version)])
        unpublished.clear(event.order_id, event.version)
    except CannotPublish as error:
        logger.error("event cannot be published", **about, why=str(error))
        return "unpublishable"
    except Exception:  # noqa: BLE001 - whatever is wrong with one event must not keep the others waiting
        logger.exception("overdue event not published", **about)
        return "failed"
    logger.error("event was not published, published again", **about)
    return "published"
