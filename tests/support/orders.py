"""Orders for tests: commands, event histories, and the commands that lead to every state."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from orderflow.domain import events
from orderflow.domain.commands import (
    ApproveReview,
    CancelOrder,
    CloseDispute,
    Command,
    ConfirmOrder,
    ExpireReservation,
    FailCancellation,
    FailFulfilment,
    PlaceOrder,
    RecordAuthorization,
    RecordCapture,
    RecordCreditNote,
    RecordDecline,
    RecordDelivery,
    RecordDispatch,
    RecordDispute,
    RecordInvoice,
    RecordLoss,
    RecordParcelConditions,
    RecordRecall,
    RecordRefund,
    RecordRefundFailure,
    RecordRelease,
    RecordReservation,
    RecordReturn,
    RecordScreening,
    RecordShipment,
    RecordShortage,
    RecordVoid,
    Refusal,
    RejectOrder,
    RejectReview,
    ReopenDispute,
    RequestCancellation,
    RequestReturn,
    decide,
)
from orderflow.domain.events import Address, Alert, Customer, Event, EventData, Resolution, Shortage, StockLine
from orderflow.domain.money import Money
from orderflow.domain.order import Order, Screening, evolve
from tests.support.products import line

ORDER_ID = "ord_aaaaaaaaaaaaaaaaaaaaaaaaaa"
CORRELATION_ID = "request-0001"
START = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
ADDRESS = Address("Ann Lee", "1 High St", "Leeds", "LS1 1AA", "GB")
ANN = Customer("ann", "ann@example.com")
MUGS = line("MUG-BLUE", 2)
FILTERS = line("FILTER-100", 1)
LINES = (MUGS, FILTERS)
TOTAL = Money(2990, "EUR")
PLACED = events.OrderPlaced(ANN, LINES, TOTAL, ADDRESS, "GB")
STOCK = (StockLine("MUG-BLUE", 2), StockLine("FILTER-100", 1))
AUTHORIZATION = "auth_1"
# The events that the ledger posts.
POSTED_EVENTS = frozenset(
    {
        "PaymentAuthorized",
        "PaymentVoided",
        "PaymentCaptured",
        "PaymentRefunded",
        "PaymentRefundReversed",
        "PaymentDisputed",
        "DisputeClosed",
        "DisputeOutcomeChanged",
    }
)

PLACE = PlaceOrder(PLACED)
RESERVE = RecordReservation()
SHORTAGE = RecordShortage((Shortage("MUG-BLUE", 2, 1),))
APPROVE = RecordScreening(Screening("approve", 10, ("new_customer",)))
HOLD = RecordScreening(Screening("hold", 60, ("amount_large", "new_customer")))
REFUSE = RecordScreening(Screening("refuse", 150, ("amount_very_large", "country_mismatch", "velocity")))
APPROVE_REVIEW = ApproveReview("rex", "known customer")
AUTHORIZE = RecordAuthorization(AUTHORIZATION)
DECLINE = RecordDecline("card_declined")
FAIL = FailFulfilment("authorize", "States.Timeout")
VOID = RecordVoid(AUTHORIZATION)
RELEASE = RecordRelease()
CONFIRM = ConfirmOrder()
REJECT = RejectOrder()
REJECT_REVIEW = RejectReview("rex", "unknown customer")
TIME_OUT_REVIEW = RejectReview("", "", timed_out=True)
EXPIRE = ExpireReservation(START + timedelta(days=1))
CANCEL = RequestCancellation("customer", "changed my mind")
COMPLETE_CANCELLATION = CancelOrder()
FAIL_CANCELLATION = FailCancellation("all parcels were dispatched")
SHIP = RecordShipment("ship_1")
RECALL = RecordRecall("ship_1")
ONE_MUG = (StockLine("MUG-BLUE", 1),)
REST = (StockLine("MUG-BLUE", 1), StockLine("FILTER-100", 1))
DISPATCH_PART = RecordDispatch("parcel_1", ONE_MUG)
DISPATCH_REST = RecordDispatch("parcel_2", REST)
DELIVER_PART = RecordDelivery("parcel_1")
DELIVER_REST = RecordDelivery("parcel_2")
ALERT_SPOILED = RecordParcelConditions(
    "parcel_1",
    (
        Alert(cause="temperature_out_of_range", since=START, lines=ONE_MUG, temperature=300),
        Alert(cause="goods_spoiled", since=START, lines=ONE_MUG, temperature=300),
    ),
)
RESOLVE = RecordParcelConditions("parcel_1", (Resolution(cause="temperature_out_of_range", until=START + timedelta(hours=2)),))
LOSE_PART = RecordLoss("parcel_1")
LOSE_REST = RecordLoss("parcel_2")
CAPTURE_PART = RecordCapture("parcel_1", "cap_1")
CAPTURE_REST = RecordCapture("parcel_2", "cap_2")
RETURN = RequestReturn("ret_1", ONE_MUG, "too small", START)
RETURN_SPOILED = RequestReturn("ret_2", ONE_MUG, "", START + timedelta(days=60), "spoiled")
RECEIVE_RETURN = RecordReturn("ret_1")
REFUND_RETURN = RecordRefund("ref_1", "return:ret_1")
REFUND_LOST = RecordRefund("ref_2", "parcel:parcel_1")
REFUND_FAILS = RecordRefundFailure("ref_2", "parcel:parcel_1", Money(1250, "EUR"), "declined")
DISPUTE = RecordDispute("dp_1", Money(1250, "EUR"), "not received")
WIN = CloseDispute("dp_1", "won")
LOSE = CloseDispute("dp_1", "lost")
REOPEN = ReopenDispute("dp_1")
INVOICE = RecordInvoice("2026-000001", "invoices/2026-000001.html")
CREDIT = RecordCreditNote("CN-2026-000001", "invoices/CN-2026-000001.html", "cancelled")

COMMANDS: dict[str, Command] = {
    "place": PLACE,
    "reserve": RESERVE,
    "shortage": SHORTAGE,
    "approve": APPROVE,
    "hold": HOLD,
    "refuse": REFUSE,
    "approve review": APPROVE_REVIEW,
    "authorize": AUTHORIZE,
    "decline": DECLINE,
    "fail": FAIL,
    "void": VOID,
    "release": RELEASE,
    "confirm": CONFIRM,
    "reject": REJECT,
    "reject review": REJECT_REVIEW,
    "time out review": TIME_OUT_REVIEW,
    "expire": EXPIRE,
    "cancel": CANCEL,
    "cancelled": COMPLETE_CANCELLATION,
    "fail cancellation": FAIL_CANCELLATION,
    "ship": SHIP,
    "recall": RECALL,
    "dispatch part": DISPATCH_PART,
    "dispatch rest": DISPATCH_REST,
    "deliver part": DELIVER_PART,
    "deliver rest": DELIVER_REST,
    "lose part": LOSE_PART,
    "alert spoiled": ALERT_SPOILED,
    "resolve": RESOLVE,
    "capture part": CAPTURE_PART,
    "capture rest": CAPTURE_REST,
    "return": RETURN,
    "return spoiled": RETURN_SPOILED,
    "receive return": RECEIVE_RETURN,
    "refund return": REFUND_RETURN,
    "refund lost": REFUND_LOST,
    "refund fails": REFUND_FAILS,
    "dispute": DISPUTE,
    "win": WIN,
    "lose": LOSE,
    "reopen": REOPEN,
    "invoice": INVOICE,
    "credit": CREDIT,
}


def event(
    order: Order,
    event_data: EventData,
    source: str = "orders",
    *,
    occurred_at: datetime | None = None,
    correlation_id: str = CORRELATION_ID,
) -> Event:
    """Return the order's next event with this data; by default it occurred a second after the previous one."""
    version = order.version + 1
    return Event(
        event_id=f"{order.order_id}:{version}",
        type=type(event_data).__name__,
        schema_version=event_data.schema_version,
        occurred_at=occurred_at or START + timedelta(seconds=order.version),
        source=source,
        correlation_id=correlation_id,
        causation_id=order.last_event_id,
        order_id=order.order_id,
        order_version=version,
        data=event_data,
    )


def history(*commands: Command, order_id: str = ORDER_ID) -> list[Event]:
    """Return the events that these commands append to a new order, which must accept each of them."""
    order, recorded = Order(order_id=order_id), list[Event]()
    for command in commands:
        decided = decide(order, command)
        assert not isinstance(decided, Refusal), decided
        for event_data in decided:
            recorded.append(event(order, event_data))
            order = evolve(order, recorded[-1])
    return recorded


def after(*commands: Command, order_id: str = ORDER_ID) -> Order:
    """Return the order after these commands, which it must accept."""
    return folded(history(*commands, order_id=order_id), order_id)


def folded(recorded: Iterable[Event], order_id: str = ORDER_ID) -> Order:
    """Fold events into an order."""
    order = Order(order_id=order_id)
    for one in recorded:
        order = evolve(order, one)
    return order


RESERVED = (PLACE, RESERVE)
SCREENED = (*RESERVED, APPROVE)
AUTHORIZED = (*SCREENED, AUTHORIZE)
CONFIRMED = (*AUTHORIZED, CONFIRM)
SHIPPING = (*CONFIRMED, SHIP)
PARTLY_DISPATCHED = (*SHIPPING, DISPATCH_PART)
DISPATCHED = (*PARTLY_DISPATCHED, DISPATCH_REST)
PAID = (*DISPATCHED, CAPTURE_PART, CAPTURE_REST)
DELIVERED = (*PAID, DELIVER_PART, DELIVER_REST)
RETURNED = (*DELIVERED, RETURN, RECEIVE_RETURN)


def is_report(event_type: str) -> bool:
    """Return whether a bank or carrier can report it in any state of the order: a dispute, or an unexpected parcel."""
    return "Dispute" in event_type or event_type == "ShipmentReportContradicted"


# The commands that lead to each state.
STATES: dict[str, tuple[Command, ...]] = {
    "new": (),
    "placed": (PLACE,),
    "reserved": RESERVED,
    "screened": SCREENED,
    "held": (*RESERVED, HOLD),
    "review approved": (*RESERVED, HOLD, APPROVE_REVIEW),
    "authorized": AUTHORIZED,
    "confirmed": CONFIRMED,
    "out of stock": (PLACE, SHORTAGE),
    "refused": (*RESERVED, REFUSE),
    "declined": (*SCREENED, DECLINE),
    "failed unreserved": (PLACE, FAIL),
    "failed authorized": (*AUTHORIZED, FAIL),
    "voided": (*AUTHORIZED, FAIL, VOID),
    "released": (*AUTHORIZED, FAIL, VOID, RELEASE),
    "rejected": (*AUTHORIZED, FAIL, VOID, RELEASE, REJECT),
    "review rejected": (*RESERVED, HOLD, REJECT_REVIEW),
    "timed out": (*RESERVED, HOLD, TIME_OUT_REVIEW),
    "expired": (*SCREENED, AUTHORIZE, EXPIRE),
    "cancelling placed": (PLACE, CANCEL),
    "cancelling authorized": (*AUTHORIZED, CANCEL),
    "cancelled": (*AUTHORIZED, CANCEL, VOID, RELEASE, COMPLETE_CANCELLATION),
    "shipping": SHIPPING,
    "cancelling shipping": (*SHIPPING, CANCEL),
    "recalled": (*SHIPPING, CANCEL, RECALL),
    "dispatched after recall": (*SHIPPING, CANCEL, RECALL, DISPATCH_PART),
    "cancellation failed": (*SHIPPING, CANCEL, DISPATCH_PART, DISPATCH_REST, FAIL_CANCELLATION),
    "partly dispatched": PARTLY_DISPATCHED,
    "cancelling the rest": (*PARTLY_DISPATCHED, CANCEL, RECALL),
    "rest cancelled": (*PARTLY_DISPATCHED, CANCEL, RECALL, CAPTURE_PART, VOID, RELEASE, COMPLETE_CANCELLATION),
    "dispatched": DISPATCHED,
    "paid": PAID,
    "delivered": DELIVERED,
    "spoiled": (*PAID, ALERT_SPOILED),
    "recovered": (*PAID, ALERT_SPOILED, RESOLVE),
    "spoiled delivered": (*PAID, ALERT_SPOILED, DELIVER_PART, DELIVER_REST),
    "part lost": (*PAID, LOSE_PART, DELIVER_REST),
    "all lost": (*PAID, LOSE_PART, LOSE_REST),
    "found after loss": (*PAID, LOSE_PART, DELIVER_REST, DELIVER_PART),
    "lost after delivery": (*DELIVERED, LOSE_PART),
    "lost refunded": (*PAID, LOSE_PART, DELIVER_REST, REFUND_LOST),
    "refund failed": (*PAID, LOSE_PART, DELIVER_REST, REFUND_FAILS),
    "refund reversed": (*PAID, LOSE_PART, DELIVER_REST, REFUND_LOST, REFUND_FAILS),
    "return requested": (*DELIVERED, RETURN),
    "partly returned": RETURNED,
    "return refunded": (*RETURNED, REFUND_RETURN),
    "disputed": (*PAID, DISPUTE),
    "dispute won": (*PAID, DISPUTE, WIN),
    "dispute lost": (*PAID, DISPUTE, LOSE),
    "dispute reopened": (*PAID, DISPUTE, LOSE, REOPEN),
    "invoiced": (*CONFIRMED, INVOICE),
    "cancelled invoiced": (*CONFIRMED, INVOICE, CANCEL, RECALL, VOID, RELEASE, COMPLETE_CANCELLATION),
    "credited": (*CONFIRMED, INVOICE, CANCEL, RECALL, VOID, RELEASE, COMPLETE_CANCELLATION, CREDIT),
}
