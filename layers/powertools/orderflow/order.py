"""The rules of an order: what may happen to it, decided without AWS.

`fold` turns an order's events into its state, `decide` turns a command into new facts or refuses
it, `evolve` applies one event. Every context appends its facts through these functions, so an order
has one set of rules however many contexts take part in its life.

A command that has had its effect already decides to nothing (an empty tuple), which is what makes
every step of the saga safe to run again.
"""

from __future__ import annotations

from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from orderflow import events
from orderflow.events import Address, Country, Customer, Event, Fact, Line, RejectionReason, Shortage, StockLine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orderflow.money import Money

State = Literal["new", "placed", "held", "failing", "confirmed", "rejected"]
Standing = Literal["held", "failing", "ended"]


class Screening(Struct, frozen=True):
    """What the fraud rules said."""

    decision: Literal["approve", "hold", "refuse"]
    score: int
    reasons: tuple[str, ...]


class Failure(Struct, frozen=True):
    """Why a failing order will be rejected."""

    reason: RejectionReason
    details: tuple[str, ...] = ()


class Order(Struct, frozen=True, kw_only=True):
    """The state of one order after the first `version` events of its log."""

    order_id: str
    version: int = 0
    state: State = "new"
    correlation_id: str = ""
    last_event_id: str | None = None
    placed_at: datetime | None = None
    placed: events.OrderPlaced | None = None
    reservation: Literal["none", "held", "released"] = "none"
    screening: Screening | None = None
    review_approved: bool = False
    payment: Literal["none", "authorized", "declined", "voided"] = "none"
    authorization_id: str | None = None
    failure: Failure | None = None

    @property
    def customer(self) -> Customer:
        """Who ordered. Raises ValueError for an order that was never placed."""
        return self._request.customer

    @property
    def lines(self) -> tuple[Line, ...]:
        """What was ordered. Raises ValueError for an order that was never placed."""
        return self._request.lines

    @property
    def total(self) -> Money:
        """What it costs. Raises ValueError for an order that was never placed."""
        return self._request.total

    @property
    def shipping_address(self) -> Address:
        """Where it goes. Raises ValueError for an order that was never placed."""
        return self._request.shipping_address

    @property
    def payment_country(self) -> Country:
        """Where the means of payment is from. Raises ValueError for an order never placed."""
        return self._request.payment_country

    @property
    def _request(self) -> events.OrderPlaced:
        if self.placed is None:
            message = f"{self.order_id} was never placed"
            raise ValueError(message)
        return self.placed


class Refusal(Struct, frozen=True):
    """A command that the order's state does not allow."""

    command: str
    state: State
    why: str


class PlaceOrder(Struct, frozen=True):
    """Accept a priced order."""

    placed: events.OrderPlaced


class RecordReservation(Struct, frozen=True):
    """Every line was set aside."""


class RecordShortage(Struct, frozen=True):
    """Nothing was set aside because these lines are short."""

    shortages: tuple[Shortage, ...]


class RecordScreening(Struct, frozen=True):
    """The fraud rules were applied."""

    screening: Screening


class ApproveReview(Struct, frozen=True):
    """A person lets a held order go on."""

    reviewer: str
    note: str = ""


class RecordAuthorization(Struct, frozen=True):
    """The provider holds the order's total."""

    authorization_id: str


class RecordDecline(Struct, frozen=True):
    """The provider refused to hold the order's total."""

    code: str


class FailFulfilment(Struct, frozen=True):
    """Give up on an order because a step kept failing."""

    step: str
    reason: str


class RecordVoid(Struct, frozen=True):
    """The provider gave an authorization back."""

    authorization_id: str


class RecordRelease(Struct, frozen=True):
    """What was set aside is for sale again."""


class ConfirmOrder(Struct, frozen=True):
    """Everything that an order needs is in place."""


class RejectOrder(Struct, frozen=True):
    """Everything that a failing order held has been given back."""


Command = (
    PlaceOrder
    | RecordReservation
    | RecordShortage
    | RecordScreening
    | ApproveReview
    | RecordAuthorization
    | RecordDecline
    | FailFulfilment
    | RecordVoid
    | RecordRelease
    | ConfirmOrder
    | RejectOrder
)


def fold(order_id: str, history: Iterable[Event]) -> Order:
    """Return the state of the order after `history`, its events in order of version."""
    return reduce(evolve, history, Order(order_id=order_id))


def is_open(order: Order) -> bool:
    """Tell whether the saga still has work to do; the sweeper looks after such orders."""
    return order.state in {"placed", "failing"}


def standing(order: Order) -> Standing | None:
    """Tell what keeps the saga from going forward with the order, or None if nothing does."""
    match order.state:
        case "held" | "failing":
            return order.state
        case "confirmed" | "rejected":
            return "ended"
        case "new" | "placed":
            return None


def stock_lines(order: Order) -> tuple[StockLine, ...]:
    """Return what the order needs from stock."""
    return tuple(StockLine(line.sku, line.quantity) for line in order.lines)


def decide(order: Order, command: Command) -> tuple[Fact, ...] | Refusal:
    """Return the facts that `command` adds to the order, or why it may not be carried out.

    No facts means that the command has had its effect already.
    """
    match command:
        case PlaceOrder(placed=placed) if order.state == "new":
            return (placed,)
        case PlaceOrder(placed=placed):
            return () if order.placed == placed else _refuse(order, command)
        case RecordReservation() | RecordShortage() | RecordRelease():
            return _decide_stock(order, command)
        case RecordScreening() | ApproveReview():
            return _decide_screening(order, command)
        case RecordAuthorization() | RecordDecline() | RecordVoid():
            return _decide_payment(order, command)
        case FailFulfilment() | ConfirmOrder() | RejectOrder():
            return _decide_end(order, command)


def _decide_stock(order: Order, command: RecordReservation | RecordShortage | RecordRelease) -> tuple[Fact, ...] | Refusal:
    match command:
        case RecordReservation() if order.reservation == "held":
            return ()
        case RecordReservation() if _is_unreserved(order):
            return (events.StockReserved(stock_lines(order)),)
        case RecordShortage() if order.failure and order.failure.reason == "out_of_stock":
            return ()
        case RecordShortage(shortages=shortages) if _is_unreserved(order):
            return (events.StockReservationFailed(shortages),)
        case RecordRelease() if order.state != "new" and order.reservation != "held":
            return ()
        case RecordRelease() if order.state == "failing":
            return (events.StockReleased(stock_lines(order)),)
        case _:
            return _refuse(order, command)


def _decide_screening(order: Order, command: RecordScreening | ApproveReview) -> tuple[Fact, ...] | Refusal:
    match command:
        case RecordScreening() if order.screening:
            return ()
        case RecordScreening(screening=screening) if order.state == "placed" and order.reservation == "held":
            return (_screened(order, screening),)
        case ApproveReview() if order.review_approved:
            return ()
        case ApproveReview(reviewer=reviewer, note=note) if order.state == "held":
            return (events.OrderReviewApproved(reviewer, note),)
        case _:
            return _refuse(order, command)


def _decide_payment(order: Order, command: RecordAuthorization | RecordDecline | RecordVoid) -> tuple[Fact, ...] | Refusal:
    match command:
        case RecordAuthorization() if order.payment == "authorized":
            return ()
        case RecordAuthorization(authorization_id=authorization_id) if _is_payable(order):
            return (events.PaymentAuthorized(authorization_id, order.total),)
        case RecordDecline() if order.payment == "declined":
            return ()
        case RecordDecline(code=code) if _is_payable(order):
            return (events.PaymentDeclined(code, order.total),)
        case RecordVoid() if order.payment == "voided":
            return ()
        case RecordVoid(authorization_id=authorization_id) if order.state == "failing" and order.payment != "declined":
            return (events.PaymentVoided(authorization_id, order.total),)
        case _:
            return _refuse(order, command)


def _decide_end(order: Order, command: FailFulfilment | ConfirmOrder | RejectOrder) -> tuple[Fact, ...] | Refusal:
    match command:
        case FailFulfilment() if order.state in {"failing", "rejected"}:
            return ()
        case FailFulfilment(step=step, reason=reason) if order.state == "placed":
            return (events.FulfilmentFailed(step, reason),)
        case ConfirmOrder() if order.state == "confirmed":
            return ()
        case ConfirmOrder() if order.state == "placed" and order.authorization_id and order.payment == "authorized":
            return (events.OrderConfirmed(order.customer, order.lines, order.total, order.shipping_address, order.authorization_id),)
        case RejectOrder() if order.state == "rejected":
            return ()
        case RejectOrder() if order.failure and _holds_nothing(order):
            failure = order.failure
            return (events.OrderRejected(order.customer, order.lines, order.total, failure.reason, failure.details),)
        case _:
            return _refuse(order, command)


def _screened(order: Order, screening: Screening) -> Fact:
    match screening.decision:
        case "hold":
            return events.OrderHeldForReview(order.customer, order.total, screening.score, screening.reasons)
        case "approve" | "refuse" as decision:
            return events.OrderScreened(decision, screening.score, screening.reasons)


def _is_unreserved(order: Order) -> bool:
    return order.state == "placed" and order.reservation == "none"


def _is_payable(order: Order) -> bool:
    screened = order.screening is not None and (order.screening.decision == "approve" or order.review_approved)
    return order.state == "placed" and order.reservation == "held" and screened and order.payment == "none"


def _holds_nothing(order: Order) -> bool:
    return order.state == "failing" and order.reservation != "held" and order.payment != "authorized"


def _refuse(order: Order, command: Command) -> Refusal:
    name = type(command).__name__
    return Refusal(name, order.state, f"{name} is not possible for an order that is {order.state}")


def evolve(order: Order, event: Event) -> Order:
    """Return the order after one more event.

    Raises:
        ValueError: the event does not follow the order's version, or belongs to another order.
    """
    if event.order_id != order.order_id or event.order_version != order.version + 1:
        message = f"{event.event_id} does not follow version {order.version} of {order.order_id}"
        raise ValueError(message)
    changed = replace(order, version=event.order_version, last_event_id=event.event_id)
    match event.data:
        case events.OrderPlaced() as placed:
            return replace(
                changed,
                state="placed",
                correlation_id=event.correlation_id,
                placed_at=event.occurred_at,
                placed=placed,
            )
        case events.StockReserved():
            return replace(changed, reservation="held")
        case events.StockReservationFailed(shortages=shortages):
            return _failing(changed, "out_of_stock", *(shortage.sku for shortage in shortages))
        case events.OrderScreened() as screened:
            screening = Screening(screened.decision, screened.score, screened.reasons)
            screened_order = replace(changed, screening=screening)
            if screened.decision == "approve":
                return screened_order
            return _failing(screened_order, "fraud_refused")
        case events.OrderHeldForReview(score=score, reasons=reasons):
            return replace(changed, state="held", screening=Screening("hold", score, reasons))
        case events.OrderReviewApproved():
            return replace(changed, state="placed", review_approved=True)
        case events.PaymentAuthorized(authorization_id=authorization_id):
            return replace(changed, payment="authorized", authorization_id=authorization_id)
        case events.PaymentDeclined(code=code):
            return _failing(replace(changed, payment="declined"), "payment_declined", code)
        case events.PaymentVoided():
            return replace(changed, payment="voided")
        case events.FulfilmentFailed(step=step):
            return _failing(changed, "fulfilment_failed", step)
        case events.StockReleased():
            return replace(changed, reservation="released")
        case events.OrderConfirmed():
            return replace(changed, state="confirmed")
        case events.OrderRejected():
            return replace(changed, state="rejected")
        case _:
            return changed


def _failing(order: Order, reason: RejectionReason, *details: str) -> Order:
    return replace(order, state="failing", failure=Failure(reason, details))
