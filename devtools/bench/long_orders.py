"""Orders of many events: every unit is dispatched, captured, delivered, returned, refunded and credited separately."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from orderflow.domain import commands as do
from orderflow.domain.commands import Command, Refusal, decide
from orderflow.domain.events import Address, Customer, Event, Line, OrderPlaced, StockLine
from orderflow.domain.money import Money
from orderflow.domain.order import Order, Screening, evolve, fold

ORDER_ID = "ord_long"
LINES = 50
# Events of each unit; as many come before the first one.
OF_A_UNIT = 7
EVENTS = (150, 500, 1500)
REPETITIONS = 7
START = datetime(2026, 1, 15, tzinfo=UTC)
ADDRESS = Address("Ann Lee", "1 High St", "Leeds", "LS1 1AA", "GB")


def history(events: int) -> list[Event]:
    """Return the first `events` events of a long order, decided by the order's rules."""
    units = -(-events // OF_A_UNIT)
    order, happened = Order(order_id=ORDER_ID, correlation_id="long"), list[Event]()
    for command in _commands(units):
        decided = decide(order, command)
        if isinstance(decided, Refusal):
            raise TypeError(decided.why)
        for event_data in decided:
            event = Event(
                event_id=f"{ORDER_ID}:{order.version + 1}",
                type=type(event_data).__name__,
                schema_version=event_data.schema_version,
                occurred_at=START + timedelta(seconds=order.version),
                source="test",
                correlation_id="long",
                causation_id=order.last_event_id,
                order_id=ORDER_ID,
                order_version=order.version + 1,
                data=event_data,
            )
            happened.append(event)
            order = evolve(order, event)
    return happened[:events]


def times() -> dict[int, float]:
    """Return the seconds of processor time that folding orders of `EVENTS` events takes, the shortest of several attempts each."""
    return {number: min(_folded(history(number)) for _ in range(REPETITIONS)) for number in EVENTS}


def _folded(happened: list[Event]) -> float:
    began = time.process_time()
    fold(ORDER_ID, happened)
    return time.process_time() - began


def _commands(units: int) -> list[Command]:
    each = -(-units // LINES)
    lines = tuple(Line(f"SKU-{number:02}", "Part", each, Money(100, "EUR")) for number in range(LINES))
    total = Money(100 * each * LINES, "EUR")
    commands: list[Command] = [
        do.PlaceOrder(OrderPlaced(Customer("ann", "ann@example.com"), lines, total, ADDRESS, "GB")),
        do.RecordReservation(),
        do.RecordScreening(Screening("approve", 1, ())),
        do.RecordAuthorization("auth_1"),
        do.ConfirmOrder(),
        do.RecordShipment("ship_1"),
        do.RecordInvoice("2026-000001", "document"),
    ]
    for number in range(units):
        commands += _unit_commands(number, (StockLine(f"SKU-{number % LINES:02}", 1),))
    return commands


def _unit_commands(number: int, lines: tuple[StockLine, ...]) -> list[Command]:
    parcel_id, return_id = f"parcel_{number}", f"ret_{number}"
    return [
        do.RecordDispatch(parcel_id, lines),
        do.RecordCapture(parcel_id, f"cap_{number}"),
        do.RecordDelivery(parcel_id),
        do.RequestReturn(return_id, lines, "", START - timedelta(days=1)),
        do.RecordReturn(return_id),
        do.RecordRefund(f"ref_{number}", f"return:{return_id}"),
        do.RecordCreditNote(f"CN-2026-{number:06}", "document", f"return:{return_id}"),
    ]
