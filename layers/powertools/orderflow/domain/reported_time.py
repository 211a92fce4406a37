"""The time of a reported event: the sender's time, if it is plausible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orderflow.domain import events

if TYPE_CHECKING:
    from orderflow.domain.order import Order

# The tolerated error of a sender's clock.
CLOCK_SKEW = timedelta(minutes=5)


def bounded(reported: datetime, earliest: datetime, now: datetime) -> datetime | None:
    """Return a reported time (any offset) in UTC between `earliest` and `now`; None if it is out of this range by more than CLOCK_SKEW."""
    if not earliest - CLOCK_SKEW <= reported <= now + CLOCK_SKEW:
        return None
    return min(max(reported, earliest), now).astimezone(UTC)


def occurred_at(order: Order, data: events.EventData, reported: datetime, now: datetime) -> datetime:
    """Return when (UTC) an event occurred with the sender's time `reported`, which the log records at `now`.

    With an implausible time the event is recorded too, dated `now`.
    """
    earliest = _preceding_time(order, data)
    return (bounded(reported, earliest, now) if earliest else None) or now


def _preceding_time(order: Order, data: events.EventData) -> datetime | None:
    """Return the time of the preceding event, by its sender's or the pipeline's clock, never the time of its receipt."""
    match data:
        case events.ShipmentDelivered(parcel_id=parcel_id) | events.ShipmentLost(parcel_id=parcel_id):
            parcel = order.parcels.get(parcel_id)
            before = parcel.left_at if parcel else None
        case events.ReturnReceived(return_id=return_id):
            created = order.returns.get(return_id)
            before = created.requested_at if created else None
        case _:
            before = None
    return before or order.confirmed_at or order.placed_at
