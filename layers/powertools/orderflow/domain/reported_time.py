"""The time of a reported event: the sender's time, if it is plausible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orderflow.domain import events

if TYPE_CHECKING:
    from orderflow.domain.order import Order

# The tolerated error of a sender's clock.
CLOCK_SKEW = timedelta(minutes=5)


def bounded(said: datetime, earliest: datetime, now: datetime) -> datetime | None:
    """Return a reported time (any offset) in UTC, moved to the bound that it misses by no more than CLOCK_SKEW; None beyond that."""
    if not earliest - CLOCK_SKEW <= said <= now + CLOCK_SKEW:
        return None
    return min(max(said, earliest), now).astimezone(UTC)


def occurred_at(order: Order, data: events.EventData, said: datetime, now: datetime) -> datetime:
    """Return when (UTC) an event occurred that its sender dates `said` and the log records at `now`.

    With an implausible time the event is recorded too, dated `now`.
    """
    earliest = _follows(order, data)
    return (bounded(said, earliest, now) if earliest else None) or now


def _follows(order: Order, data: events.EventData) -> datetime | None:
    """Return the time of the preceding event, by its sender's clock or ours, never the time of its receipt."""
    match data:
        case events.ShipmentDelivered(parcel_id=parcel_id) | events.ShipmentLost(parcel_id=parcel_id):
            parcel = order.parcels.get(parcel_id)
            before = parcel.left_at if parcel else None
        case events.ReturnReceived(return_id=return_id):
            announced = order.returns.get(return_id)
            before = announced.requested_at if announced else None
        case _:
            before = None
    return before or order.confirmed_at or order.placed_at
