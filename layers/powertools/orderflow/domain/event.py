"""The envelope of an event, and the base of every event's data."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from orderflow.domain.values import Moment


class EventData(Struct, frozen=True):
    """What happened; the base of every event's data. `schema_version` is part of its contract."""

    schema_version: ClassVar[int] = 1


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Event data in its envelope, in the present version of its type."""

    event_id: Annotated[str, Meta(description="Unique, and the same however often the event is written or delivered")]
    type: Annotated[str, Meta(description="What happened; on the bus, the detail type as well")]
    schema_version: Annotated[int, Meta(description="Version of the type's contract")]
    occurred_at: Annotated[
        datetime, Meta(tz=True, description="RFC 3339, in UTC; what a carrier or bank reports has the time that it says")
    ]
    source: Annotated[str, Meta(description="Context that says so; on the bus, the source as well")]
    correlation_id: Annotated[str, Meta(description="That of the request which placed the order")]
    causation_id: Annotated[str | None, Meta(description="The event that led to this one; nothing for the first")]
    order_id: Annotated[str, Meta(description="The order that it is about")]
    order_version: Annotated[int, Meta(description="Counts the events of one order from 1 without a gap")]
    data: EventData
    recorded_at: Annotated[
        Moment | None, Meta(description="When it was recorded, where its sender says that it occurred at another time")
    ] = None

    @property
    def appended_at(self) -> datetime:
        """When (UTC) the event was appended. Never decreases from one version of an order to the next; `occurred_at` may."""
        return self.recorded_at or self.occurred_at
