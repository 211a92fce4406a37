"""Conditions of parcels in transit, as the carrier's telemetry shows them: too warm or too cold, spoiled, not moving, silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from orderflow.domain.event import EventData
from orderflow.domain.order_state import ParcelCause, ParcelCondition
from orderflow.domain.registry import Command, decides, evolves, refuse
from orderflow.domain.values import Customer, CustomerId, Moment, Position, StockLine, Temperature, TemperatureRange

if TYPE_CHECKING:
    from orderflow.domain.event import Event
    from orderflow.domain.order_state import Order, Parcel
    from orderflow.domain.registry import Decision

# It bounds the cost of folding an order whose parcel changes between two conditions for weeks. Spoiled goods are always reported.
MAX_ALERTS = 20


class ParcelConditionAlerted(EventData, frozen=True):
    """A parcel in transit needs attention, since `since`. There is one alert per cause until it is resolved.

    `lines` are the affected goods; the customer may return spoiled ones. `temperature` is that of the latest reading, if there is one, and
    `temperature_range` is what the goods endure, if any of them has one. `position`, the latest one, is part of `not_moving` only, and
    `customer.email` is empty except for `goods_spoiled`, which sends an email.
    """

    customer: Customer
    parcel_id: str
    cause: ParcelCause
    since: Moment
    lines: tuple[StockLine, ...]
    temperature: Temperature | None = None
    temperature_range: TemperatureRange | None = None
    position: Position | None = None


class ParcelConditionResolved(EventData, frozen=True):
    """A condition ended at `until`. Spoiled goods stay spoiled, and delivery or loss of a parcel ends its conditions without this event."""

    customer: CustomerId
    parcel_id: str
    cause: ParcelCause
    since: Moment
    until: Moment


class Alert(Struct, frozen=True, kw_only=True, tag=True):
    """A condition that began; the fields as in ParcelConditionAlerted, but `position` for every cause."""

    cause: ParcelCause
    since: Moment
    lines: tuple[StockLine, ...]
    temperature: Temperature | None = None
    temperature_range: TemperatureRange | None = None
    position: Position | None = None


class Resolution(Struct, frozen=True, kw_only=True, tag=True):
    """A condition that ended at `until`."""

    cause: ParcelCause
    until: Moment


type ConditionChange = Alert | Resolution


class RecordParcelConditions(Command, frozen=True):
    """Record changes of a parcel's conditions, in this order."""

    parcel_id: str
    changes: tuple[ConditionChange, ...]


@decides(RecordParcelConditions)
def _record(order: Order, command: RecordParcelConditions) -> Decision:
    parcel = order.parcels.get(command.parcel_id)
    if parcel is None:
        return refuse(order, command, f"parcel {command.parcel_id} is unknown")
    decided: list[EventData] = []
    for change in command.changes:
        if event := _decided(order, parcel, change):
            decided.append(event)
            parcel = _after(parcel, event)
    return tuple(decided)


def _decided(order: Order, parcel: Parcel, change: ConditionChange) -> ParcelConditionAlerted | ParcelConditionResolved | None:
    """Return the event of a change; None where the parcel has arrived or the order knows the change."""
    known = parcel.condition(change.cause)
    if parcel.state != "dispatched":
        return None
    if isinstance(change, Resolution):
        if known is None or change.cause == "goods_spoiled":
            return None
        return ParcelConditionResolved(CustomerId(order.customer.id), parcel.parcel_id, change.cause, known.since, change.until)
    if known or (parcel.alerts >= MAX_ALERTS and change.cause != "goods_spoiled"):
        return None
    return ParcelConditionAlerted(
        order.customer if change.cause == "goods_spoiled" else Customer(order.customer.id, email=""),
        parcel.parcel_id,
        change.cause,
        change.since,
        change.lines,
        change.temperature,
        change.temperature_range,
        change.position if change.cause == "not_moving" else None,
    )


@evolves(ParcelConditionAlerted, appended_by="shipping")
def _alerted(order: Order, data: ParcelConditionAlerted, _event: Event) -> Order:
    return _with_change(order, data)


@evolves(ParcelConditionResolved, appended_by="shipping")
def _resolved(order: Order, data: ParcelConditionResolved, _event: Event) -> Order:
    return _with_change(order, data)


def _with_change(order: Order, data: ParcelConditionAlerted | ParcelConditionResolved) -> Order:
    parcel = order.parcels.get(data.parcel_id)
    return replace(order, parcels=order.parcels.put(parcel.parcel_id, _after(parcel, data))) if parcel else order


def _after(parcel: Parcel, data: ParcelConditionAlerted | ParcelConditionResolved) -> Parcel:
    others = tuple(one for one in parcel.conditions if one.cause != data.cause)
    if isinstance(data, ParcelConditionResolved):
        return replace(parcel, conditions=others)
    spoiled = data.lines if data.cause == "goods_spoiled" else parcel.spoiled
    return replace(parcel, conditions=(*others, ParcelCondition(data.cause, data.since)), alerts=parcel.alerts + 1, spoiled=spoiled)
