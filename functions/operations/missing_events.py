"""Publishes events that are in the order log, overdue, and not marked as published."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from operations.republisher import CannotPublish
from orderflow.aws.observability import logger

if TYPE_CHECKING:
    from operations.republisher import Republisher
    from orderflow.aws.outbox_index import OutboxIndex, PendingEvent

# Publishing this many takes a fraction of the function's timeout; the next run continues.
MAX_EVENTS = 200


class MissingEventsNotPublished(RuntimeError):
    """Some missing events could not be published."""


class MissingEvents(Struct, frozen=True):
    """The result of a run: how many events were overdue, published and failed; the age of the oldest in seconds."""

    overdue: int
    published: int
    failed: int
    oldest_seconds: int


def publish_missing(index: OutboxIndex, republisher: Republisher, *, now: datetime, overdue_after: timedelta) -> MissingEvents:
    """Publish every sampled event that has been pending for longer than `overdue_after`, oldest first, MAX_EVENTS at most.

    Consumers absorb the duplicate if an event was published after all. An event that cannot be published stays in the index
    and counts as overdue until an operator repairs it.
    """
    overdue = index.oldest_first(now - overdue_after, MAX_EVENTS)
    results = [_publish(index, republisher, event) for event in overdue]
    return MissingEvents(
        overdue=len(overdue),
        published=results.count("published"),
        failed=results.count("failed"),
        oldest_seconds=int((now - overdue[0].since).total_seconds()) if overdue else 0,
    )


def _publish(index: OutboxIndex, republisher: Republisher, event: PendingEvent) -> str:
    fields: dict[str, Any] = {"order_id": event.order_id, "version": event.version, "since": event.since.isoformat()}
    try:
        republisher.publish([(event.order_id, event.version)])
        index.clear(event.order_id, event.version)
    except CannotPublish as error:
        logger.error("event_cannot_be_published", **fields, reason=str(error))
        return "unpublishable"
    except Exception:  # noqa: BLE001 - an error of one event must not block the others
        logger.exception("missing_event_not_published", **fields)
        return "failed"
    logger.error("missing_event_published", **fields)
    return "published"
