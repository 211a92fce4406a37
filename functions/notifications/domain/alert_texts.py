"""The text of the alerts to operators, one line for each event. Pure rules, without AWS.

An alert names neither the customer nor an address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.domain.events import ParcelConditionAlerted, ParcelConditionResolved, ShipmentReportContradicted

if TYPE_CHECKING:
    from datetime import datetime

    from orderflow.domain.events import Event, ParcelCause, StockLine

_CAUSES: dict[ParcelCause, str] = {
    "temperature_out_of_range": "is outside the temperature range of its goods",
    "goods_spoiled": "has spoiled goods; the customer may return them",
    "not_moving": "does not move",
    "silent": "sends no readings",
}


class Alert(Struct, frozen=True):
    """An alert to operators; those of one `kind` have the same event type and cause."""

    kind: str
    text: str


def compose(event: Event) -> Alert | None:
    """Return the alert of an event, or None where operators get none."""
    match event.data:
        case ParcelConditionAlerted() as data:
            since, goods = f"{data.since:%Y-%m-%d %H:%M} UTC", _goods(data.lines)
            text = f"Order {event.order_id}: parcel {data.parcel_id} {_CAUSES[data.cause]} since {since} ({goods}{_degrees(data)})."
        case ParcelConditionResolved() as data:
            until = f"{data.until:%Y-%m-%d %H:%M} UTC"
            text = f"Order {event.order_id}: the condition `{data.cause}` of parcel {data.parcel_id} ended at {until}."
        case ShipmentReportContradicted() as data:
            text = f"Order {event.order_id}: the carrier reported parcel {data.parcel_id} ({_goods(data.lines)}) as {data.reported}, "
            text += f"after it was {data.recorded}." if data.recorded else "but the order has no such lines left to dispatch."
            return Alert(f"{event.type} {data.reported}", text)
        case _:
            return None
    return Alert(f"{event.type} {data.cause}", text)


def last_of(hour: datetime, number: int) -> str:
    """Return the sentence that ends the last alert of a kind in an hour (UTC)."""
    return f" It is number {number} of its kind since {hour:%H}:00 UTC; more are not sent in this hour, but are events of their orders."


def _goods(lines: tuple[StockLine, ...]) -> str:
    return ", ".join(f"{line.quantity} x {line.sku}" for line in lines)


def _degrees(data: ParcelConditionAlerted) -> str:
    if data.temperature is None:
        return ""
    endures = data.temperature_range
    required = f", required {endures.lowest / 10:g} to {endures.highest / 10:g} °C" if endures else ""
    return f"; last at {data.temperature / 10:g} °C{required}"
