"""The text of the alerts to operators, one line for each event. Pure rules, without AWS.

An alert names neither the customer nor an address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.domain.events import ParcelConditionAlerted, ParcelConditionResolved

if TYPE_CHECKING:
    from orderflow.domain.events import Event, ParcelCause

_CAUSES: dict[ParcelCause, str] = {
    "temperature_out_of_range": "is outside the temperature range of its goods",
    "goods_spoiled": "has spoiled goods; the customer may return them",
    "not_moving": "does not move",
    "silent": "sends no readings",
}


def compose(event: Event) -> str | None:
    """Return the alert of an event, or None where operators get none."""
    match event.data:
        case ParcelConditionAlerted() as data:
            goods = ", ".join(f"{line.quantity} x {line.sku}" for line in data.lines)
            since = f"{data.since:%Y-%m-%d %H:%M} UTC"
            return f"Order {event.order_id}: parcel {data.parcel_id} {_CAUSES[data.cause]} since {since} ({goods}{_degrees(data)})."
        case ParcelConditionResolved() as data:
            until = f"{data.until:%Y-%m-%d %H:%M} UTC"
            return f"Order {event.order_id}: the condition `{data.cause}` of parcel {data.parcel_id} ended at {until}."
        case _:
            return None


def _degrees(data: ParcelConditionAlerted) -> str:
    if data.temperature is None:
        return ""
    endures = data.temperature_range
    required = f", required {endures.lowest / 10:g} to {endures.highest / 10:g} °C" if endures else ""
    return f"; last at {data.temperature / 10:g} °C{required}"
