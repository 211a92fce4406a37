"""What an order is: the fold of its events, decided without AWS.

`fold` turns an order's events into its state and `evolve` applies one event; `orderflow.domain.commands` says
which events may come next. The parts of a life are kept apart, because they go on side by side: what
is reserved, what was authorized and taken, what left, arrived and came back. `state` sums them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from orderflow.domain import events
from orderflow.domain.events import (
    Address,
    CancelledBy,
    Country,
    Customer,
    DisputeOutcome,
    DisputeStanding,
    Event,
    Line,
    RejectionReason,
    StockLine,
)
from orderflow.domain.money import Money
from orderflow.domain.parts import Parts

if TYPE_CHECKING:
    from collections.abc import Iterable

State = Literal[
    "new",
    "placed",
    "held",
    "failing",
    "cancelling",
    "confirmed",
    "partly_dispatched",
    "dispatched",
    "delivered",
    "lost",
    "partly_returned",
    "returned",
    "rejected",
    "cancelled",
]
Standing = Literal["held", "failing", "cancelling", "ended"]
Obstacle = Standing | Literal["unreserved"]
Marker = Literal["open", "held"]


class Screening(Struct, frozen=True):
    """What the fraud rules said."""

    decision: Literal["approve", "hold", "refuse"]
    score: int
    reasons: tuple[str, ...]


class Failure(Struct, frozen=True):
    """Why a failing order will be rejected."""

    reason: RejectionReason
    details: tuple[str, ...] = ()


class Cancellation(Struct, frozen=True):
    """Who cancelled, and why."""

    by: CancelledBy
    reason: str


class Parcel(Struct, frozen=True, kw_only=True):
    """A part of the order that left, at `left_at` where the carrier says when.

    `capture_id` once its money was taken, `refunded` minor units paid back for its loss.
    """

    parcel_id: str
    lines: tuple[StockLine, ...]
    amount: Money
    state: Literal["dispatched", "delivered", "lost"] = "dispatched"
    left_at: datetime | None = None
    delivered_at: datetime | None = None
    capture_id: str | None = None
    refunded: int = 0


class Return(Struct, frozen=True, kw_only=True):
    """Lines that the customer sends back; `amount` is known once they came, `refunded` minor units were paid back for them."""

    return_id: str
    lines: tuple[StockLine, ...]
    reason: str
    requested_at: datetime
    amount: Money | None = None
    refunded: int = 0


class RefundAttempt(Struct, frozen=True):
    """A refund that was requested for `cause`, and whether the customer has the money."""

    refund_id: str
    cause: str
    amount: Money
    refunded: bool


class Dispute(Struct, frozen=True):
    """Money that the customer's bank took back, as it is booked, and how that was decided; `decided_at` (UTC) if the bank said when."""

    dispute_id: str
    amount: Money
    outcome: DisputeOutcome | None = None
    decided_at: datetime | None = None

    @property
    def saga_blocker(self) -> DisputeStanding:
        """The outcome, or `open`."""
        return self.outcome or "open"


class Correction(Struct, frozen=True, kw_only=True):
    """What the customer need not pay of what was confirmed: `cause` is `cancelled`, or that of a refund. `credit_note` is its number."""

    cause: str
    lines: tuple[StockLine, ...]
    amount: Money
    since: datetime
    credit_note: str | None = None


class Latest(Struct, frozen=True):
    """The last event of a type: its version, and when (UTC) the log took it."""

    version: int
    appended_at: datetime


class Order(Struct, frozen=True, kw_only=True):
    """The state of one order after the first `version` events of its log. `captured` and `refunded` are minor units.

    Five fields sum up parcels and returns, so that applying an event costs the same however many there are. Pieces by
    sku: `left` were neither dispatched nor cancelled, `delivered` arrived, `returnable` are those of which no return was
    announced, `kept` those that have not come back. `under_way` counts parcels that are neither delivered nor lost. `latest` has the
    last event of each type.
    """

    order_id: str
    version: int = 0
    state: State = "new"
    correlation_id: str = ""
    last_event_id: str | None = None
    placed_at: datetime | None = None
    confirmed_at: datetime | None = None
    placed: events.OrderPlaced | None = None
    reservation: Literal["none", "held", "released"] = "none"
    reserved_at: datetime | None = None
    screening: Screening | None = None
    review_approved: bool = False
    payment: Literal["none", "authorized", "declined", "voided", "captured"] = "none"
    authorization_id: str | None = None
    captured: int = 0
    refunded: int = 0
    failure: Failure | None = None
    cancellation: Cancellation | None = None
    shipment: Literal["none", "requested", "recalled"] = "none"
    parcels: Parts[Parcel] = Parts[Parcel]()
    cancelled: tuple[StockLine, ...] = ()
    returns: Parts[Return] = Parts[Return]()
    refunds: Parts[RefundAttempt] = Parts[RefundAttempt]()
    disputes: Parts[Dispute] = Parts[Dispute]()
    invoice: str | None = None
    corrections: Parts[Correction] = Parts[Correction]()
    left: Mapping[str, int] = {}
    delivered: Mapping[str, int] = {}
    returnable: Mapping[str, int] = {}
    kept: Mapping[str, int] = {}
    under_way: int = 0
    latest: Mapping[str, Latest] = {}

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
    def charged_back(self) -> int:
        """Minor units that banks hold or kept: disputes that are open or lost."""
        return sum(dispute.amount.amount for dispute in self.disputes if dispute.outcome != "won")

    @property
    def net_captured(self) -> int:
        """Minor units that are left of what was captured; below zero where a bank took more than that."""
        return self.captured - self.refunded - self.charged_back

    @property
    def _request(self) -> events.OrderPlaced:
        if self.placed is None:
            message = f"{self.order_id} was never placed"
            raise ValueError(message)
        return self.placed


def fold(order_id: str, history: Iterable[Event]) -> Order:
    """Return the state of the order after `history`, its events in order of version."""
    return after_events(Order(order_id=order_id), history)


def after_events(order: Order, following: Iterable[Event]) -> Order:
    """Return the order after more events, which follow its version in order."""
    return reduce(evolve, following, order)


def latest(order: Order, types: Iterable[str]) -> Latest | None:
    """Return the last event of any of these types, or None where there was none."""
    return max((order.latest[name] for name in types if name in order.latest), key=lambda one: one.version, default=None)


def marker(order: Order) -> Marker | None:
    """Tell where the sparse index of orders in work has this one: `open` while the saga has something to do, `held` while a person has."""
    match order.state:
        case "placed" | "failing" | "cancelling":
            return "open"
        case "held":
            return "held"
        case _:
            return None


def is_active(order: Order) -> bool:
    """Tell whether the saga still has work to do; the sweeper looks after such orders."""
    return marker(order) == "open"


def standing(order: Order) -> Standing | None:
    """Tell what keeps the saga from going forward with the order, or None if nothing does."""
    match order.state:
        case "held" | "failing" | "cancelling":
            return order.state
        case "new" | "placed":
            return None
        case _:
            return "ended"


def step_blocker(order: Order) -> Obstacle | None:
    """Tell what keeps a step that comes after reserving from going forward: `standing`, or that nothing is set aside (any more)."""
    return standing(order) or ("unreserved" if order.reservation == "none" else None)


def stock_lines(order: Order) -> tuple[StockLine, ...]:
    """Return what the order needs from stock."""
    return tuple(StockLine(line.sku, line.quantity) for line in order.lines)


def remaining(order: Order) -> tuple[StockLine, ...]:
    """Return what has neither left nor been cancelled."""
    return _lines(order.left)


def returnable(order: Order) -> tuple[StockLine, ...]:
    """Return what arrived and was not announced as a return, whenever it arrived."""
    return _lines(order.returnable)


def price(order: Order, lines: Iterable[StockLine]) -> Money:
    """Return what quantities of the order's products cost in it.

    Raises:
        KeyError: a product is not in the order.
    """
    prices = {line.sku: line.unit_price for line in order.lines}
    return sum((prices[line.sku].times(line.quantity) for line in lines), Money(0, order.total.currency))


def subtract(lines: Iterable[StockLine], *taken: Iterable[StockLine]) -> tuple[StockLine, ...]:
    """Return what is left of `lines`, one line for each product, in their order; what falls to nothing is left out."""
    quantities = _more({}, lines)
    for some in taken:
        quantities = _less(quantities, some)
    return _lines(quantities)


def covers(lines: Iterable[StockLine], wanted: Iterable[StockLine]) -> bool:
    """Tell whether `lines` hold at least the quantities of `wanted`."""
    return not subtract(wanted, lines)


def evolve(order: Order, event: Event) -> Order:
    """Return the order after one more event.

    Raises:
        ValueError: the event does not follow the order's version, or belongs to another order.
    """
    if event.order_id != order.order_id or event.order_version != order.version + 1:
        message = f"{event.event_id} does not follow version {order.version} of {order.order_id}"
        raise ValueError(message)
    latest = {**order.latest, event.type: Latest(event.order_version, event.appended_at)}
    changed = replace(order, version=event.order_version, last_event_id=event.event_id, latest=latest)
    apply = _APPLY.get(type(event.data))
    return apply(changed, event.data, event) if apply else changed


def _failing(order: Order, reason: RejectionReason, *details: str) -> Order:
    return replace(order, state="failing", failure=Failure(reason, details))


def _shipping(order: Order) -> Order:
    """Return the order with the state that its parcels, its cancelled lines and its returns make."""
    return replace(order, state=_shipping_state(order), cancellation=None)


def _shipping_state(order: Order) -> State:
    if not order.parcels:
        return "confirmed"
    if any(quantity > 0 for quantity in order.left.values()):
        return "partly_dispatched"
    if order.under_way:
        return "dispatched"
    if not order.delivered:
        return "lost"
    if order.kept == order.delivered:
        return "delivered"
    return "partly_returned" if any(order.kept.values()) else "returned"


def _moved(order: Order, **changes: Any) -> Order:
    """Return the order with changed parcels or returns; one that is being cancelled stays so until that is over."""
    changed = replace(order, **changes)
    return changed if order.state == "cancelling" else _shipping(changed)


def _parcels(order: Order, parcel_id: str, **changes: Any) -> Parts[Parcel]:
    known = order.parcels.get(parcel_id)
    return order.parcels.put(parcel_id, replace(known, **changes)) if known else order.parcels


def _returns(order: Order, return_id: str, **changes: Any) -> Parts[Return]:
    known = order.returns.get(return_id)
    return order.returns.put(return_id, replace(known, **changes)) if known else order.returns


def _more(quantities: Mapping[str, int], lines: Iterable[StockLine]) -> dict[str, int]:
    after = dict(quantities)
    for line in lines:
        after[line.sku] = after.get(line.sku, 0) + line.quantity
    return after


def _less(quantities: Mapping[str, int], lines: Iterable[StockLine]) -> dict[str, int]:
    after = dict(quantities)
    for line in lines:
        after[line.sku] = after.get(line.sku, 0) - line.quantity
    return after


def _lines(quantities: Mapping[str, int]) -> tuple[StockLine, ...]:
    return tuple(StockLine(sku, quantity) for sku, quantity in quantities.items() if quantity > 0)


def _placed(order: Order, fact: events.OrderPlaced, event: Event) -> Order:
    placed = replace(order, state="placed", correlation_id=event.correlation_id, placed_at=event.occurred_at, placed=fact)
    return replace(placed, left=_more({}, stock_lines(placed)))


def _reserved(order: Order, _fact: events.StockReserved, event: Event) -> Order:
    return replace(order, reservation="held", reserved_at=event.occurred_at)


def _short(order: Order, fact: events.StockReservationFailed, _event: Event) -> Order:
    return _failing(order, "out_of_stock", *(shortage.sku for shortage in fact.shortages))


def _expired(order: Order, _fact: events.ReservationExpired, _event: Event) -> Order:
    return replace(order, reservation="none", reserved_at=None)


def _released(order: Order, _fact: events.StockReleased, _event: Event) -> Order:
    return replace(order, reservation="released")


def _screened(order: Order, fact: events.OrderScreened, _event: Event) -> Order:
    screened = replace(order, screening=Screening(fact.decision, fact.score, fact.reasons))
    return screened if fact.decision == "approve" else _failing(screened, "fraud_refused")


def _held(order: Order, fact: events.OrderHeldForReview, _event: Event) -> Order:
    return replace(order, state="held", screening=Screening("hold", fact.score, fact.reasons))


def _approved(order: Order, _fact: events.OrderReviewApproved, _event: Event) -> Order:
    return replace(order, state="placed", review_approved=True)


def _refused(order: Order, fact: events.OrderReviewRejected, _event: Event) -> Order:
    return _failing(order, "review_timed_out" if fact.timed_out else "review_rejected")


def _authorized(order: Order, fact: events.PaymentAuthorized, _event: Event) -> Order:
    return replace(order, payment="authorized", authorization_id=fact.authorization_id)


def _declined(order: Order, fact: events.PaymentDeclined, _event: Event) -> Order:
    return _failing(replace(order, payment="declined"), "payment_declined", fact.code)


def _voided(order: Order, _fact: events.PaymentVoided, _event: Event) -> Order:
    return replace(order, payment="captured" if order.captured else "voided")


def _captured(order: Order, fact: events.PaymentCaptured, _event: Event) -> Order:
    captured = order.captured + fact.amount.amount
    return replace(
        order,
        captured=captured,
        payment="captured" if captured == order.total.amount else order.payment,
        parcels=_parcels(order, fact.parcel_id, capture_id=fact.capture_id),
    )


def _paid_back(order: Order, fact: events.PaymentRefunded, event: Event) -> Order:
    kind, _, name = fact.cause.partition(":")
    due = {"parcel": order.parcels, "return": order.returns}[kind].get(name) if kind in {"parcel", "return"} else None
    # However many refunds it takes, the goods are credited once and in full.
    if order.corrections.get(fact.cause) is None:
        amount = due.amount if due and due.amount else fact.amount
        order = _corrected(order, fact.cause, due.lines if due else (), amount, event)
    attempt = RefundAttempt(fact.refund_id, fact.cause, fact.amount, refunded=True)
    return _refunded(order, attempt, fact.amount.amount)


def _refunded(order: Order, attempt: RefundAttempt, amount: int) -> Order:
    """Return the order with this attempt, and `amount` minor units more (or less) refunded for its cause."""
    kind, _, name = attempt.cause.partition(":")
    parcel = order.parcels.get(name) if kind == "parcel" else None
    sent_back = order.returns.get(name) if kind == "return" else None
    return replace(
        order,
        refunded=order.refunded + amount,
        refunds=order.refunds.put(attempt.refund_id, attempt),
        parcels=_parcels(order, name, refunded=parcel.refunded + amount) if parcel else order.parcels,
        returns=_returns(order, name, refunded=sent_back.refunded + amount) if sent_back else order.returns,
    )


def _refund_failed(order: Order, fact: events.PaymentRefundFailed, _event: Event) -> Order:
    return _refunded(order, RefundAttempt(fact.refund_id, fact.cause, fact.amount, refunded=False), 0)


def _refund_reversed(order: Order, fact: events.PaymentRefundReversed, _event: Event) -> Order:
    return _refunded(order, RefundAttempt(fact.refund_id, fact.cause, fact.amount, refunded=False), -fact.amount.amount)


def _disputed(order: Order, fact: events.PaymentDisputed, _event: Event) -> Order:
    return replace(order, disputes=order.disputes.put(fact.dispute_id, Dispute(fact.dispute_id, fact.amount)))


def _dispute_closed(order: Order, fact: events.DisputeClosed, _event: Event) -> Order:
    return _decided(order, fact.dispute_id, fact.outcome, fact.decided_at)


def _dispute_changed(order: Order, fact: events.DisputeOutcomeChanged, _event: Event) -> Order:
    return _decided(order, fact.dispute_id, None if fact.after == "open" else fact.after, fact.decided_at)


def _decided(order: Order, dispute_id: str, outcome: DisputeOutcome | None, decided_at: datetime | None) -> Order:
    known = order.disputes.get(dispute_id)
    decided = order.disputes.put(dispute_id, replace(known, outcome=outcome, decided_at=decided_at)) if known else order.disputes
    return replace(order, disputes=decided)


def _failed(order: Order, fact: events.FulfilmentFailed, _event: Event) -> Order:
    return _failing(order, "fulfilment_failed", fact.step)


def _confirmed(order: Order, _fact: events.OrderConfirmed, event: Event) -> Order:
    return replace(order, state="confirmed", confirmed_at=event.occurred_at)


def _rejected(order: Order, _fact: events.OrderRejected, _event: Event) -> Order:
    return replace(order, state="rejected")


def _cancelling(order: Order, fact: events.CancellationRequested, _event: Event) -> Order:
    return replace(order, state="cancelling", cancellation=Cancellation(fact.by, fact.reason))


def _cancelled(order: Order, _fact: events.OrderCancelled, event: Event) -> Order:
    ended = replace(order, state="cancelled")
    return _corrected(ended, "cancelled", stock_lines(order), order.total, event) if order.confirmed_at else ended


def _lines_cancelled(order: Order, fact: events.OrderLinesCancelled, event: Event) -> Order:
    less = _corrected(order, "cancelled", fact.lines, fact.amount, event)
    return _shipping(replace(less, cancelled=(*order.cancelled, *fact.lines), left=_less(order.left, fact.lines)))


def _corrected(order: Order, cause: str, lines: tuple[StockLine, ...], amount: Money, event: Event) -> Order:
    due = Correction(cause=cause, lines=lines, amount=amount, since=event.appended_at)
    return replace(order, corrections=order.corrections.put(cause, due))


def _not_cancelled(order: Order, _fact: events.CancellationFailed, _event: Event) -> Order:
    return _shipping(order)


def _requested(order: Order, _fact: events.ShipmentRequested, _event: Event) -> Order:
    return replace(order, shipment="requested")


def _recalled(order: Order, _fact: events.ShipmentRecalled, _event: Event) -> Order:
    return replace(order, shipment="recalled")


def _dispatched(order: Order, fact: events.ShipmentDispatched, event: Event) -> Order:
    left_at = event.occurred_at if event.recorded_at else None
    parcel = Parcel(parcel_id=fact.parcel_id, lines=fact.lines, amount=fact.amount, left_at=left_at)
    parcels, left = order.parcels.put(fact.parcel_id, parcel), _less(order.left, fact.lines)
    return _moved(order, parcels=parcels, left=left, under_way=order.under_way + 1)


def _delivered(order: Order, fact: events.ShipmentDelivered, event: Event) -> Order:
    return _moved(
        order,
        parcels=_parcels(order, fact.parcel_id, state="delivered", delivered_at=event.occurred_at),
        under_way=order.under_way - 1,
        delivered=_more(order.delivered, fact.lines),
        returnable=_more(order.returnable, fact.lines),
        kept=_more(order.kept, fact.lines),
    )


def _lost(order: Order, fact: events.ShipmentLost, _event: Event) -> Order:
    return _moved(order, parcels=_parcels(order, fact.parcel_id, state="lost"), under_way=order.under_way - 1)


def _return_requested(order: Order, fact: events.ReturnRequested, event: Event) -> Order:
    announced = Return(return_id=fact.return_id, lines=fact.lines, reason=fact.reason, requested_at=event.occurred_at)
    returns = order.returns.put(fact.return_id, announced)
    return replace(order, returns=returns, returnable=_less(order.returnable, fact.lines))


def _return_received(order: Order, fact: events.ReturnReceived, _event: Event) -> Order:
    return _moved(order, returns=_returns(order, fact.return_id, amount=fact.amount), kept=_less(order.kept, fact.lines))


def _invoiced(order: Order, fact: events.InvoiceIssued, _event: Event) -> Order:
    return replace(order, invoice=fact.number)


def _credited(order: Order, fact: events.CreditNoteIssued, _event: Event) -> Order:
    due = order.corrections.get(fact.cause)
    if due is None:
        return order
    return replace(order, corrections=order.corrections.put(fact.cause, replace(due, credit_note=fact.number)))


_APPLY: dict[type[events.EventData], Any] = {
    events.OrderPlaced: _placed,
    events.StockReserved: _reserved,
    events.StockReservationFailed: _short,
    events.ReservationExpired: _expired,
    events.StockReleased: _released,
    events.OrderScreened: _screened,
    events.OrderHeldForReview: _held,
    events.OrderReviewApproved: _approved,
    events.OrderReviewRejected: _refused,
    events.PaymentAuthorized: _authorized,
    events.PaymentDeclined: _declined,
    events.PaymentVoided: _voided,
    events.PaymentCaptured: _captured,
    events.PaymentRefunded: _paid_back,
    events.PaymentRefundFailed: _refund_failed,
    events.PaymentRefundReversed: _refund_reversed,
    events.PaymentDisputed: _disputed,
    events.DisputeClosed: _dispute_closed,
    events.DisputeOutcomeChanged: _dispute_changed,
    events.FulfilmentFailed: _failed,
    events.OrderConfirmed: _confirmed,
    events.OrderRejected: _rejected,
    events.CancellationRequested: _cancelling,
    events.OrderCancelled: _cancelled,
    events.OrderLinesCancelled: _lines_cancelled,
    events.CancellationFailed: _not_cancelled,
    events.ShipmentRequested: _requested,
    events.ShipmentRecalled: _recalled,
    events.ShipmentDispatched: _dispatched,
    events.ShipmentDelivered: _delivered,
    events.ShipmentLost: _lost,
    events.ReturnRequested: _return_requested,
    events.ReturnReceived: _return_received,
    events.InvoiceIssued: _invoiced,
    events.CreditNoteIssued: _credited,
}
