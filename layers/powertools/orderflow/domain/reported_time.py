"""When a reported fact occurred: at the time that its sender says, where that can be. Pure rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orderflow.domain import events

if TYPE_CHECKING:
    from orderflow.domain.order import Order

# The clock of a sender may be off by so much.
CLOCK_SKEW = timedelta(minutes=5)


def bounded(said: datetime, earliest: datetime, now: datetime) -> datetime | None:
    """Return a reported time (any offset) in UTC, moved to the bound that it misses by no more than CLOCK_SKEW; None beyond that."""
    if not earliest - CLOCK_SKEW <= said <= now + CLOCK_SKEW:
        return None
    return min(max(said, earliest), now).astimezone(UTC)


def occurred_at(order: Order, fact: events.EventData, said: datetime, now: datetime) -> datetime:
    """Return when (UTC) a fact occurred that its sender dates `said` and the log takes at `now`.

    A time that cannot be does not keep the fact from being recorded: it counts as of `now`.
    """
    earliest = _follows(order, fact)
    return (bounded(said, earliest, now) if earliest else None) or now


def _follows(order: Order, fact: events.EventData) -> datetime | None:
    """Return when that occurred which a fact follows: what was recorded of it by its sender's clock or ours, never by its receipt."""
    match fact:
        case events.ShipmentDelivered(parcel_id=parcel_id) | events.ShipmentLost(parcel_id=parcel_id):
            parcel = order.parcels.get(parcel_id)
            before = parcel.left_at if parcel else None
        case events.ReturnReceived(return_id=return_id):
            announced = order.returns.get(return_id)
            before = announced.requested_at if announced else None
        case _:
            before = None
    return before or order.confirmed_at or order.placed_at
