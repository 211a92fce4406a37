"""Puts event data into envelopes: ids, versions, times and causes of an order's next events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from orderflow.aws import tracing
from orderflow.aws.observability import logger
from orderflow.domain import events, reported_time
from orderflow.domain.order import Order, evolve, is_active

if TYPE_CHECKING:
    from collections.abc import Sequence


class OrderChange(NamedTuple):
    """An order before and after new events."""

    before: Order
    new: list[events.Event]
    after: Order

    @property
    def activates(self) -> bool:
        """True if the order becomes active."""
        return not is_active(self.before) and is_active(self.after)

    @property
    def deactivates(self) -> bool:
        """True if the order stops being active."""
        return is_active(self.before) and not is_active(self.after)


def next_events(order: Order, event_data: Sequence[events.EventData], source: str, reported: datetime | None) -> OrderChange:
    """Return the order with its next events; the order's last event caused the first of them, and each the one after it.

    `reported` is the time that the sender reports, if any; `reported_time` limits it.
    """
    new: list[events.Event] = []
    after = order
    for data in event_data:
        event = next_event(after, data, source, reported)
        new.append(event)
        after = evolve(after, event)
    return OrderChange(order, new, after)


def next_event(order: Order, data: events.EventData, source: str, reported: datetime | None = None) -> events.Event:
    """Return the order's next event, recorded now."""
    version = order.version + 1
    now = datetime.now(UTC)
    occurred_at = reported_time.occurred_at(order, data, reported, now) if reported else now
    if reported and abs(reported - occurred_at) > reported_time.CLOCK_SKEW:
        logger.warning("reported_time_not_taken", order_id=order.order_id, type=type(data).__name__, reported=reported.isoformat())
    return events.Event(
        event_id=f"{order.order_id}:{version}",
        type=type(data).__name__,
        schema_version=data.schema_version,
        occurred_at=occurred_at,
        source=source,
        correlation_id=order.correlation_id,
        causation_id=order.last_event_id,
        order_id=order.order_id,
        order_version=version,
        data=data,
        recorded_at=now if occurred_at != now else None,
        trace=tracing.header(),
    )
