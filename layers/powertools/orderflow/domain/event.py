"""The envelope of an event, and the base of every event's data."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from orderflow.domain.values import Moment


class EventData(Struct, frozen=True):
    """The base of every event's data. `schema_version` is part of its contract."""

    schema_version: ClassVar[int] = 1


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Event data in its envelope, in the present version of its type."""

    event_id: Annotated[str, Meta(description="Unique, and the same for every delivery of the event")]
    type: Annotated[str, Meta(description="Type of the event; on the bus, the detail type as well")]
    schema_version: Annotated[int, Meta(description="Version of the type's contract")]
    occurred_at: Annotated[datetime, Meta(tz=True, description="RFC 3339, in UTC; for reports of a carrier or bank, the sender's time")]
    source: Annotated[str, Meta(description="Producing context; on the bus, the source as well")]
    correlation_id: Annotated[str, Meta(description="Correlation id of the request that placed the order")]
    causation_id: Annotated[str | None, Meta(description="Id of the event that caused this one; null for the first")]
    order_id: Annotated[str, Meta(description="Id of the order")]
    order_version: Annotated[int, Meta(description="Position of the event in its order, counted from 1 without a gap")]
    data: EventData
    recorded_at: Annotated[Moment | None, Meta(description="Time of recording, if it differs from `occurred_at`")] = None
    trace: Annotated[str | None, Meta(description="X-Ray trace header, if the request or saga that recorded the event is sampled")] = None

    @property
    def appended_at(self) -> datetime:
        """When (UTC) the event was appended. Never decreases from one version of an order to the next; `occurred_at` may."""
        return self.recorded_at or self.occurred_at
