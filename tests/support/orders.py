"""Orders for tests: their facts, their events, and every state that an order can be in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from orderflow import events
from orderflow.events import Address, Customer, Event, Fact, Line, Shortage, StockLine
from orderflow.money import Money
from orderflow.order import (
    ApproveReview,
    Command,
    ConfirmOrder,
    FailFulfilment,
    Order,
    PlaceOrder,
    RecordAuthorization,
    RecordDecline,
    RecordRelease,
    RecordReservation,
    RecordScreening,
    RecordShortage,
    RecordVoid,
    Refusal,
    RejectOrder,
    Screening,
    decide,
    evolve,
)

ORDER_ID = "ord_aaaaaaaaaaaaaaaaaaaaaaaaaa"
CORRELATION_ID = "request-0001"
START = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
ADDRESS = Address("Ann Lee", "1 High St", "Leeds", "LS1 1AA", "GB")
ANN = Customer("ann", "ann@example.com")
MUGS = Line("MUG-BLUE", "Blue mug", 2, Money(1250, "EUR"))
FILTERS = Line("FILTER-100", "Paper filters, 100", 1, Money(490, "EUR"))
LINES = (MUGS, FILTERS)
TOTAL = Money(2990, "EUR")
PLACED = events.OrderPlaced(ANN, LINES, TOTAL, ADDRESS, "GB")
STOCK = (StockLine("MUG-BLUE", 2), StockLine("FILTER-100", 1))
AUTHORIZATION = "auth_1"

PLACE = PlaceOrder(PLACED)
RESERVE = RecordReservation()
SHORTAGE = RecordShortage((Shortage("MUG-BLUE", 2, 1),))
APPROVE = RecordScreening(Screening("approve", 10, ("new_customer",)))
HOLD = RecordScreening(Screening("hold", 60, ("amount_large", "new_customer")))
REFUSE = RecordScreening(Screening("refuse", 150, ("amount_very_large", "country_mismatch", "velocity")))
LET_GO = ApproveReview("rex", "known customer")
AUTHORIZE = RecordAuthorization(AUTHORIZATION)
DECLINE = RecordDecline("card_declined")
FAIL = FailFulfilment("authorize", "States.Timeout")
VOID = RecordVoid(AUTHORIZATION)
RELEASE = RecordRelease()
CONFIRM = ConfirmOrder()
REJECT = RejectOrder()

COMMANDS: dict[str, Command] = {
    "place": PLACE,
    "reserve": RESERVE,
    "shortage": SHORTAGE,
    "approve": APPROVE,
    "hold": HOLD,
    "refuse": REFUSE,
    "let go": LET_GO,
    "authorize": AUTHORIZE,
    "decline": DECLINE,
    "fail": FAIL,
    "void": VOID,
    "release": RELEASE,
    "confirm": CONFIRM,
    "reject": REJECT,
}


def event(order: Order, fact: Fact, source: str = "orders") -> Event:
    """Return the event that `fact` is as the next one of the order."""
    version = order.version + 1
    return Event(
        event_id=f"{order.order_id}:{version}",
        type=type(fact).__name__,
        schema_version=fact.schema_version,
        occurred_at=START + timedelta(seconds=order.version),
        source=source,
        correlation_id=CORRELATION_ID,
        causation_id=order.last_event_id,
        order_id=order.order_id,
        order_version=version,
        data=fact,
    )


def history(*commands: Command, order_id: str = ORDER_ID) -> list[Event]:
    """Return the events of an order that was given these commands, each of which it has to allow."""
    order, happened = Order(order_id=order_id), list[Event]()
    for command in commands:
        facts = decide(order, command)
        assert not isinstance(facts, Refusal), facts
        for fact in facts:
            happened.append(event(order, fact))
            order = evolve(order, happened[-1])
    return happened


def after(*commands: Command, order_id: str = ORDER_ID) -> Order:
    """Return the order after these commands, each of which it has to allow."""
    return folded(history(*commands, order_id=order_id), order_id)


def folded(happened: Iterable[Event], order_id: str = ORDER_ID) -> Order:
    """Return the order that these events make."""
    order = Order(order_id=order_id)
    for one in happened:
        order = evolve(order, one)
    return order


RESERVED = (PLACE, RESERVE)
SCREENED = (*RESERVED, APPROVE)
AUTHORIZED = (*SCREENED, AUTHORIZE)

# How an order gets into each state that the rules tell apart.
STATES: dict[str, tuple[Command, ...]] = {
    "new": (),
    "placed": (PLACE,),
    "reserved": RESERVED,
    "screened": SCREENED,
    "held": (*RESERVED, HOLD),
    "let go": (*RESERVED, HOLD, LET_GO),
    "authorized": AUTHORIZED,
    "confirmed": (*AUTHORIZED, CONFIRM),
    "short": (PLACE, SHORTAGE),
    "refused": (*RESERVED, REFUSE),
    "declined": (*SCREENED, DECLINE),
    "failed unreserved": (PLACE, FAIL),
    "failed authorized": (*AUTHORIZED, FAIL),
    "voided": (*AUTHORIZED, FAIL, VOID),
    "released": (*AUTHORIZED, FAIL, VOID, RELEASE),
    "rejected": (*AUTHORIZED, FAIL, VOID, RELEASE, REJECT),
}
