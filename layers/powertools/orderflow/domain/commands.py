"""The rules of an order: which commands it takes in which state, decided without AWS.

`decide` turns a command into new facts or refuses it. Every context appends its facts through it, so an
order has one set of rules however many contexts take part in its life.

A command that has had its effect already decides to nothing (an empty tuple), which is what makes
every step of the saga, and every message of a carrier or a payment provider, safe to take again.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orderflow.domain import events
from orderflow.domain.events import CancelledBy, DisputeOutcome, EventData, Shortage, StockLine
from orderflow.domain.money import Money
from orderflow.domain.order import Order, Parcel, Return, Screening, State, covers, price, remaining, returnable, stock_lines, subtract

if TYPE_CHECKING:
    from collections.abc import Callable

type Decision = tuple[EventData, ...] | Refusal


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


class ExpireReservation(Struct, frozen=True):
    """Give up what was set aside before `before` (UTC) for an order that is not confirmed."""

    before: datetime


class RecordRelease(Struct, frozen=True):
    """What was set aside, and has not left, is for sale again."""


class RecordScreening(Struct, frozen=True):
    """The fraud rules were applied."""

    screening: Screening


class ApproveReview(Struct, frozen=True):
    """A person lets a held order go on."""

    reviewer: str
    note: str = ""


class RejectReview(Struct, frozen=True):
    """A person refuses a held order, or (`timed_out`) nobody decided in time."""

    reviewer: str
    note: str = ""
    timed_out: bool = False


class RecordAuthorization(Struct, frozen=True):
    """The provider holds the order's total."""

    authorization_id: str


class RecordDecline(Struct, frozen=True):
    """The provider refused to hold the order's total."""

    code: str


class RecordVoid(Struct, frozen=True):
    """The provider gave back what was not captured of an authorization."""

    authorization_id: str


class RecordCapture(Struct, frozen=True):
    """The provider took the money for a parcel."""

    parcel_id: str
    capture_id: str


class RecordRefund(Struct, frozen=True):
    """The provider paid back money for a lost parcel (`parcel:…`) or a received return (`return:…`): `amount`, or all that is owed."""

    refund_id: str
    cause: str
    amount: Money | None = None


class RecordRefundFailure(Struct, frozen=True):
    """The provider did not carry out a refund that it had accepted, or took it back after it was recorded."""

    refund_id: str
    cause: str
    amount: Money
    reason: str


class RecordDispute(Struct, frozen=True):
    """The customer's bank took captured money back: `amount` as the bank reports it, in any currency."""

    dispute_id: str
    amount: Money
    reason: str


class CloseDispute(Struct, frozen=True):
    """A dispute was decided, or decided otherwise; a decision older than the recorded one has no effect."""

    dispute_id: str
    outcome: DisputeOutcome
    decided_at: datetime | None = None


class ReopenDispute(Struct, frozen=True):
    """A decided dispute is undecided again, because of an appeal."""

    dispute_id: str
    reopened_at: datetime | None = None


class FailFulfilment(Struct, frozen=True):
    """Give up on an order because a step kept failing."""

    step: str
    reason: str


class ConfirmOrder(Struct, frozen=True):
    """Everything that an order needs is in place."""


class RejectOrder(Struct, frozen=True):
    """Everything that a failing order held has been given back."""


class RequestCancellation(Struct, frozen=True):
    """Cancel what has not left yet."""

    by: CancelledBy
    reason: str = ""


class CancelOrder(Struct, frozen=True):
    """Everything that an order which is being cancelled held, and that has not left, has been given back."""


class FailCancellation(Struct, frozen=True):
    """The carrier had everything on its way before it could be stopped."""

    reason: str


class RecordShipment(Struct, frozen=True):
    """The carrier took the order."""

    shipment_id: str


class RecordRecall(Struct, frozen=True):
    """The carrier will bring nothing more of the order."""

    shipment_id: str


class RecordDispatch(Struct, frozen=True):
    """A parcel with these lines left."""

    parcel_id: str
    lines: tuple[StockLine, ...]


class RecordDelivery(Struct, frozen=True):
    """A parcel arrived."""

    parcel_id: str


class RecordLoss(Struct, frozen=True):
    """A parcel will not arrive."""

    parcel_id: str


class RequestReturn(Struct, frozen=True):
    """Announce that lines come back; only parcels delivered at or after `delivered_since` (UTC) count."""

    return_id: str
    lines: tuple[StockLine, ...]
    reason: str
    delivered_since: datetime


class RecordReturn(Struct, frozen=True):
    """The lines of a return came back."""

    return_id: str


class RecordInvoice(Struct, frozen=True):
    """The order's invoice was written."""

    number: str
    document: str


class RecordCreditNote(Struct, frozen=True):
    """The credit note for one of the order's corrections, named by its cause, was written."""

    number: str
    document: str
    cause: str


Command = (
    PlaceOrder
    | RecordReservation
    | RecordShortage
    | ExpireReservation
    | RecordRelease
    | RecordScreening
    | ApproveReview
    | RejectReview
    | RecordAuthorization
    | RecordDecline
    | RecordVoid
    | RecordCapture
    | RecordRefund
    | RecordRefundFailure
    | RecordDispute
    | CloseDispute
    | ReopenDispute
    | FailFulfilment
    | ConfirmOrder
    | RejectOrder
    | RequestCancellation
    | CancelOrder
    | FailCancellation
    | RecordShipment
    | RecordRecall
    | RecordDispatch
    | RecordDelivery
    | RecordLoss
    | RequestReturn
    | RecordReturn
    | RecordInvoice
    | RecordCreditNote
)

# Far above what orders have, so that an order stays small enough to be folded, answered and listed. A return beyond it is answered
# with 409; a parcel or dispute beyond it stays in the dead-letter queue of its webhook, which has an alarm.
MAX_PARCELS = 500
MAX_RETURNS = 250
MAX_DISPUTES = 50

SHIPPABLE: frozenset[State] = frozenset({"confirmed", "partly_dispatched", "cancelling"})


def decide(order: Order, command: Command) -> Decision:
    """Return the facts that `command` adds to the order, or why it may not be carried out.

    No facts means that the command has had its effect already.
    """
    rule: Callable[[Order, Any], Decision] = _RULES[type(command)]
    decision = rule(order, command)
    full = None if isinstance(decision, Refusal) else next(filter(None, (_limit(order, fact) for fact in decision)), None)
    return refuse(order, command, full) if full else decision


def _limit(order: Order, fact: EventData) -> str | None:
    """Return why an order takes no more facts of a kind, or None if it does."""
    match fact:
        case events.ShipmentDispatched() if len(order.parcels) >= MAX_PARCELS:
            return f"an order has at most {MAX_PARCELS} parcels"
        case events.ReturnRequested() if len(order.returns) >= MAX_RETURNS:
            return f"an order has at most {MAX_RETURNS} returns; send several products back with one return"
        case events.PaymentDisputed() if len(order.disputes) >= MAX_DISPUTES:
            return f"an order has at most {MAX_DISPUTES} disputes"
        case _:
            return None


def refuse(order: Order, command: Command, why: str = "") -> Refusal:
    """Return the refusal of a command, for the order's state unless there is a closer reason."""
    name = type(command).__name__
    return Refusal(name, order.state, why or f"{name} is not possible for an order that is {order.state}")


def _decide_placing(order: Order, command: PlaceOrder) -> Decision:
    if order.state == "new":
        return (command.placed,)
    return () if order.placed == command.placed else refuse(order, command)


def _decide_invoice(order: Order, command: RecordInvoice) -> Decision:
    if order.invoice:
        return ()
    if not order.confirmed_at or order.state == "cancelled":
        return refuse(order, command)
    return (events.InvoiceIssued(command.number, command.document, order.total),)


def _decide_credit_note(order: Order, command: RecordCreditNote) -> Decision:
    due = order.corrections.get(command.cause)
    if due is None or order.invoice is None:
        return refuse(order, command)
    if due.credit_note:
        return ()
    return (events.CreditNoteIssued(command.number, command.document, order.invoice, due.cause, due.amount),)


def _decide_stock(order: Order, command: RecordReservation | RecordShortage | RecordRelease | ExpireReservation) -> Decision:
    match command:
        case RecordReservation() if order.reservation == "held":
            return ()
        case RecordReservation() if _is_unreserved(order):
            return (events.StockReserved(stock_lines(order)),)
        case RecordShortage() if order.failure and order.failure.reason == "out_of_stock":
            return ()
        case RecordShortage(shortages=shortages) if _is_unreserved(order):
            return (events.StockReservationFailed(shortages),)
        case ExpireReservation(before=before) if order.state in {"placed", "held"}:
            if order.reserved_at is None:
                return ()
            return (events.ReservationExpired(stock_lines(order)),) if order.reserved_at <= before else refuse(order, command)
        case RecordRelease() if order.state != "new" and (order.reservation != "held" or not remaining(order)):
            return ()
        case RecordRelease() if _is_stopped(order):
            return (events.StockReleased(remaining(order)),)
        case _:
            return refuse(order, command)


def _decide_screening(order: Order, command: RecordScreening | ApproveReview | RejectReview) -> Decision:
    match command:
        case RecordScreening() if order.screening:
            return ()
        case RecordScreening(screening=screening) if order.state == "placed" and order.reservation == "held":
            return (_screened(order, screening),)
        case ApproveReview() if order.review_approved:
            return ()
        case ApproveReview(reviewer=reviewer, note=note) if order.state == "held":
            return (events.OrderReviewApproved(reviewer, note),)
        case RejectReview() if order.failure and order.failure.reason in {"review_rejected", "review_timed_out"}:
            return ()
        case RejectReview(reviewer=reviewer, note=note, timed_out=timed_out) if order.state == "held":
            return (events.OrderReviewRejected(reviewer, note, timed_out),)
        case _:
            return refuse(order, command)


def _decide_payment(order: Order, command: RecordAuthorization | RecordDecline | RecordVoid) -> Decision:
    match command:
        case RecordAuthorization() if order.payment in {"authorized", "captured"}:
            return ()
        case RecordAuthorization(authorization_id=authorization_id) if _is_payable(order):
            return (events.PaymentAuthorized(authorization_id, order.total),)
        case RecordDecline() if order.payment == "declined":
            return ()
        case RecordDecline(code=code) if _is_payable(order):
            return (events.PaymentDeclined(code, order.total),)
        case RecordVoid() if order.payment in {"voided", "captured"}:
            return ()
        case RecordVoid(authorization_id=authorization_id) if _is_voidable(order):
            rest = Money(order.total.amount - order.captured, order.total.currency)
            voided = events.PaymentVoided(authorization_id, rest)
            # An authorization whose answer was lost is told of first: whoever keeps books sees both.
            return (voided,) if order.authorization_id else (events.PaymentAuthorized(authorization_id, order.total), voided)
        case _:
            return refuse(order, command)


def _decide_capture(order: Order, command: RecordCapture) -> Decision:
    parcel = _parcel(order, command.parcel_id)
    if parcel and parcel.capture_id:
        return ()
    if parcel is None or order.payment != "authorized" or order.authorization_id is None:
        return refuse(order, command)
    return (events.PaymentCaptured(order.authorization_id, command.capture_id, parcel.parcel_id, parcel.amount),)


def _decide_refund(order: Order, command: RecordRefund) -> Decision:
    if order.refunds.get(command.refund_id):
        return ()
    owed = owed_for(order, command.cause)
    if isinstance(owed, str):
        return refuse(order, command, owed)
    if not owed.amount:
        return ()
    # The provider's amount is a fact; without it, no more is refunded than was captured.
    amount = command.amount or Money(min(owed.amount, order.captured - order.refunded), owed.currency)
    if amount.amount <= 0:
        return refuse(order, command, f"no more than the {order.captured} captured can be refunded")
    return (events.PaymentRefunded(order.customer, command.refund_id, command.cause, amount),)


def _decide_refund_failure(order: Order, command: RecordRefundFailure) -> Decision:
    known = order.refunds.get(command.refund_id)
    if known:
        reversed_ = events.PaymentRefundReversed(known.refund_id, known.cause, known.amount, command.reason)
        return (reversed_,) if known.refunded else ()
    owed = owed_for(order, command.cause)
    if isinstance(owed, str):
        return refuse(order, command, owed)
    return (events.PaymentRefundFailed(command.refund_id, command.cause, command.amount, command.reason),)


def _decide_dispute(order: Order, command: RecordDispute) -> Decision:
    """Record what a bank reports whatever the order's state: once there was a payment, a dispute is a fact."""
    if order.disputes.get(command.dispute_id):
        return ()
    if order.authorization_id is None or command.amount.amount <= 0:
        return refuse(order, command, "only money of a payment can be disputed")
    booked = _booked(order, command.amount)
    return (events.PaymentDisputed(command.dispute_id, booked, command.amount, command.reason),)


def _booked(order: Order, disputed: Money) -> Money:
    """Return a dispute's amount in the order's currency.

    The bank's exchange rate is unknown, so an amount in another currency counts as all that is left of the payment.
    """
    currency = order.total.currency
    if disputed.currency == currency:
        return disputed
    return Money(max(0, order.net_captured if order.captured else order.total.amount), currency)


def _decide_dispute_outcome(order: Order, command: CloseDispute | ReopenDispute) -> Decision:
    known = order.disputes.get(command.dispute_id)
    if known is None:
        return refuse(order, command, f"dispute {command.dispute_id} is unknown")
    after, moment = (command.outcome, command.decided_at) if isinstance(command, CloseDispute) else ("open", command.reopened_at)
    stale = known.decided_at is not None and moment is not None and moment <= known.decided_at
    if after == known.saga_blocker or stale:
        return ()
    if known.outcome is None and after != "open":
        return (events.DisputeClosed(known.dispute_id, known.amount, after, moment),)
    return (events.DisputeOutcomeChanged(known.dispute_id, known.amount, known.saga_blocker, after, moment),)


def _decide_end(order: Order, command: FailFulfilment | ConfirmOrder | RejectOrder) -> Decision:
    match command:
        case FailFulfilment() if order.state in {"failing", "rejected"}:
            return ()
        case FailFulfilment(step=step, reason=reason) if order.state == "placed":
            return (events.FulfilmentFailed(step, reason),)
        case ConfirmOrder() if order.confirmed_at:
            return ()
        case ConfirmOrder() if _is_confirmable(order) and order.authorization_id:
            return (events.OrderConfirmed(order.customer, order.lines, order.total, order.shipping_address, order.authorization_id),)
        case RejectOrder() if order.state == "rejected":
            return ()
        case RejectOrder() if order.state == "failing" and order.failure and _holds_nothing(order):
            failure = order.failure
            return (events.OrderRejected(order.customer, order.lines, order.total, failure.reason, failure.details),)
        case _:
            return refuse(order, command)


def _decide_cancellation(order: Order, command: RequestCancellation | CancelOrder | FailCancellation) -> Decision:
    match command:
        case RequestCancellation() if order.state in {"cancelling", "cancelled"} or order.cancelled:
            return ()
        case RequestCancellation(by=by, reason=reason) if order.state in {"placed", "held", "confirmed", "partly_dispatched"}:
            return (events.CancellationRequested(by, reason),)
        case CancelOrder() if order.state == "cancelled" or order.cancelled:
            return ()
        case CancelOrder() if order.cancellation and _is_stopped(order) and _holds_nothing(order):
            return (_cancelled(order, order.cancellation.by, order.cancellation.reason),)
        case FailCancellation(reason=reason) if order.state == "cancelling" and order.confirmed_at and order.shipment != "recalled":
            return (events.CancellationFailed(reason),)
        case FailCancellation() if order.confirmed_at and order.state != "cancelling":
            return ()
        case _:
            return refuse(order, command)


def _decide_shipment(order: Order, command: RecordShipment | RecordRecall | RecordDispatch | RecordDelivery | RecordLoss) -> Decision:
    match command:
        case RecordShipment() if order.shipment != "none":
            return ()
        case RecordShipment(shipment_id=shipment_id) if order.confirmed_at and order.state in SHIPPABLE:
            return (events.ShipmentRequested(shipment_id, stock_lines(order)),)
        case RecordRecall() if order.shipment == "recalled":
            return ()
        case RecordRecall(shipment_id=shipment_id) if order.state == "cancelling" and order.confirmed_at and remaining(order):
            return (events.ShipmentRecalled(shipment_id),)
        case RecordDispatch(parcel_id=parcel_id, lines=lines):
            return _decide_dispatch(order, command, parcel_id, lines)
        case RecordDelivery(parcel_id=parcel_id) | RecordLoss(parcel_id=parcel_id) if parcel := _parcel(order, parcel_id):
            return _decide_arrival(order, command, parcel)
        case _:
            return refuse(order, command)


def _decide_dispatch(order: Order, command: RecordDispatch, parcel_id: str, lines: tuple[StockLine, ...]) -> Decision:
    if _parcel(order, parcel_id):
        return ()
    if not order.confirmed_at or order.state not in SHIPPABLE or order.shipment == "recalled":
        return refuse(order, command)
    there = remaining(order)
    if not lines or not covers(there, lines):
        return refuse(order, command, f"parcel {parcel_id} holds what is not left to dispatch")
    return (events.ShipmentDispatched(order.customer, parcel_id, lines, price(order, lines), not subtract(there, lines)),)


def _decide_arrival(order: Order, command: RecordDelivery | RecordLoss, parcel: Parcel) -> Decision:
    match command, parcel.state:
        case (RecordDelivery(), "delivered") | (RecordLoss(), "lost"):
            return ()
        case RecordDelivery(), "dispatched":
            complete = not remaining(order) and order.under_way == 1
            return (events.ShipmentDelivered(events.CustomerId(order.customer.id), parcel.parcel_id, parcel.lines, complete),)
        case RecordLoss(), "dispatched":
            return (events.ShipmentLost(events.CustomerId(order.customer.id), parcel.parcel_id, parcel.lines, parcel.amount),)
        case _:
            return refuse(order, command, f"parcel {parcel.parcel_id} is {parcel.state}")


def _decide_return(order: Order, command: RequestReturn | RecordReturn) -> Decision:
    known = _return(order, command.return_id)
    match command:
        case RequestReturn() if known:
            same = (known.lines, known.reason) == (command.lines, command.reason)
            return () if same else refuse(order, command, f"return {command.return_id} has other contents")
        case RequestReturn():
            return _decide_new_return(order, command)
        case RecordReturn(return_id=return_id) if known:
            return () if known.amount else (events.ReturnReceived(return_id, known.lines, price(order, known.lines)),)
        case _:
            return refuse(order, command, f"nobody announced a return {command.return_id}")


def _decide_new_return(order: Order, command: RequestReturn) -> Decision:
    if not command.lines or not covers(returnable(order), command.lines):
        return refuse(order, command, "only what was delivered, and is not coming back already, can be returned")
    if not covers(_recent(order, command.delivered_since), command.lines):
        return refuse(order, command, "the time for returns is over")
    return (events.ReturnRequested(events.CustomerId(order.customer.id), command.return_id, command.lines, command.reason),)


def _recent(order: Order, since: datetime) -> tuple[StockLine, ...]:
    """Return what can come back of the parcels that were delivered since; older ones are taken to have come back first."""
    old = [line for parcel in order.parcels if parcel.delivered_at and parcel.delivered_at < since for line in parcel.lines]
    recent = [line for parcel in order.parcels if parcel.delivered_at and parcel.delivered_at >= since for line in parcel.lines]
    beyond = subtract((line for one in order.returns for line in one.lines), old)
    return subtract(recent, beyond)


def _screened(order: Order, screening: Screening) -> EventData:
    match screening.decision:
        case "hold":
            return events.OrderHeldForReview(order.customer, order.total, screening.score, screening.reasons)
        case "approve" | "refuse" as decision:
            return events.OrderScreened(decision, screening.score, screening.reasons)


def _cancelled(order: Order, by: CancelledBy, reason: str) -> EventData:
    if not order.parcels:
        return events.OrderCancelled(order.customer, order.lines, order.total, by, reason, confirmed=order.confirmed_at is not None)
    rest = remaining(order)
    return events.OrderLinesCancelled(order.customer, rest, price(order, rest), by, reason)


def owed_for(order: Order, cause: str) -> Money | str:
    """Return what is owed for a lost parcel or a received return and not refunded, or why nothing is."""
    kind, _, name = cause.partition(":")
    due: Parcel | Return | None = _parcel(order, name) if kind == "parcel" else _return(order, name) if kind == "return" else None
    if due is None:
        return f"the order has no {cause}"
    if isinstance(due, Parcel) and (due.state != "lost" or due.capture_id is None):
        return f"parcel {name} is not lost, or was never paid for"
    if due.amount is None:
        return f"return {name} has not come yet"
    return Money(max(0, due.amount.amount - due.refunded), due.amount.currency)


def _parcel(order: Order, parcel_id: str) -> Parcel | None:
    return order.parcels.get(parcel_id)


def _return(order: Order, return_id: str) -> Return | None:
    return order.returns.get(return_id)


def _is_unreserved(order: Order) -> bool:
    return order.state == "placed" and order.reservation == "none"


def _is_payable(order: Order) -> bool:
    screened = order.screening is not None and (order.screening.decision == "approve" or order.review_approved)
    return order.state == "placed" and order.reservation == "held" and screened and order.payment == "none"


def _is_confirmable(order: Order) -> bool:
    return order.state == "placed" and order.reservation == "held" and order.payment == "authorized"


def _is_voidable(order: Order) -> bool:
    """Tell whether the rest of the authorization may go: the order is stopped, what left is paid for, and nothing more will leave."""
    if order.payment == "declined" or any(parcel.capture_id is None for parcel in order.parcels):
        return False
    return _is_stopped(order) or (order.confirmed_at is not None and order.state not in SHIPPABLE)


def _is_stopped(order: Order) -> bool:
    """Tell whether the order is sealed: nothing of it will be reserved, paid for or sent any more."""
    return order.state == "failing" or (order.state == "cancelling" and (not order.confirmed_at or order.shipment == "recalled"))


def _holds_nothing(order: Order) -> bool:
    return (order.reservation != "held" or not remaining(order)) and order.payment != "authorized"


_RULES: dict[type, Any] = {
    PlaceOrder: _decide_placing,
    RecordReservation: _decide_stock,
    RecordShortage: _decide_stock,
    ExpireReservation: _decide_stock,
    RecordRelease: _decide_stock,
    RecordScreening: _decide_screening,
    ApproveReview: _decide_screening,
    RejectReview: _decide_screening,
    RecordAuthorization: _decide_payment,
    RecordDecline: _decide_payment,
    RecordVoid: _decide_payment,
    RecordCapture: _decide_capture,
    RecordRefund: _decide_refund,
    RecordRefundFailure: _decide_refund_failure,
    RecordDispute: _decide_dispute,
    CloseDispute: _decide_dispute_outcome,
    ReopenDispute: _decide_dispute_outcome,
    FailFulfilment: _decide_end,
    ConfirmOrder: _decide_end,
    RejectOrder: _decide_end,
    RequestCancellation: _decide_cancellation,
    CancelOrder: _decide_cancellation,
    FailCancellation: _decide_cancellation,
    RecordShipment: _decide_shipment,
    RecordRecall: _decide_shipment,
    RecordDispatch: _decide_shipment,
    RecordDelivery: _decide_shipment,
    RecordLoss: _decide_shipment,
    RequestReturn: _decide_return,
    RecordReturn: _decide_return,
    RecordInvoice: _decide_invoice,
    RecordCreditNote: _decide_credit_note,
}
