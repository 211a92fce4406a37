"""The state of an order, and questions that several facets ask about it.

The facets change independently (reserved, authorized, captured, dispatched, delivered, returned), so each has fields of
its own. `Order.state` sums them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from orderflow.domain.money import Money
from orderflow.domain.parts import Parts
from orderflow.domain.quantities import as_lines
from orderflow.domain.values import Address, Country, Customer, Line, StockLine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orderflow.domain.event import Event
    from orderflow.domain.placing import OrderPlaced  # noqa: TC004 - an order is never decoded; its facets import this module

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
RejectionReason = Literal["out_of_stock", "fraud_refused", "payment_declined", "fulfilment_failed", "review_rejected", "review_timed_out"]
CancelledBy = Literal["customer", "operator"]
DisputeOutcome = Literal["won", "lost"]
DisputeState = Literal["open", "won", "lost"]
ParcelEnd = Literal["delivered", "lost"]
ParcelState = Literal["dispatched", ParcelEnd]
ParcelCause = Literal["temperature_out_of_range", "goods_spoiled", "not_moving", "silent"]
ReturnReasonCode = Literal["spoiled"]

SHIPPABLE: frozenset[State] = frozenset({"confirmed", "partly_dispatched", "cancelling"})


class Screening(Struct, frozen=True):
    """The result of the fraud rules."""

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


class ParcelCondition(Struct, frozen=True):
    """A condition of a parcel that was alerted and not resolved, and since when (UTC) it holds."""

    cause: ParcelCause
    since: datetime


class Parcel(Struct, frozen=True, kw_only=True):
    """A dispatched part of the order.

    `left_at` is the carrier's time of dispatch, if it reported one; `capture_id` is set once the parcel is paid for; `refunded` are
    the minor units refunded for its loss. `conditions` were alerted and not resolved, `alerts` counts all alerts, and `spoiled` are
    the lines that spoiled in transit.
    """

    parcel_id: str
    lines: tuple[StockLine, ...]
    amount: Money
    state: ParcelState = "dispatched"
    left_at: datetime | None = None
    delivered_at: datetime | None = None
    capture_id: str | None = None
    refunded: int = 0
    conditions: tuple[ParcelCondition, ...] = ()
    alerts: int = 0
    spoiled: tuple[StockLine, ...] = ()

    def condition(self, cause: ParcelCause) -> ParcelCondition | None:
        """Return the present condition of this cause, or None."""
        return next((one for one in self.conditions if one.cause == cause), None)


class ContradictedParcel(Struct, frozen=True):
    """A parcel of which the carrier `reported` states that contradict the order, with the lines of the first such report."""

    parcel_id: str
    lines: tuple[StockLine, ...]
    reported: tuple[ParcelState, ...]


class Return(Struct, frozen=True, kw_only=True):
    """Lines that the customer returns. `amount` is set once they are received; `refunded` are the minor units refunded for them.

    `reason_code` is `spoiled` for goods that spoiled in transit, which are not sold again.
    """

    return_id: str
    lines: tuple[StockLine, ...]
    reason: str
    requested_at: datetime
    reason_code: ReturnReasonCode | None = None
    amount: Money | None = None
    refunded: int = 0


class RefundAttempt(Struct, frozen=True):
    """A refund that was requested for `cause`, and whether the customer has the money."""

    refund_id: str
    cause: str
    amount: Money
    refunded: bool


class Dispute(Struct, frozen=True):
    """A disputed amount as it is booked, and its outcome; `decided_at` (UTC) where the bank reported it."""

    dispute_id: str
    amount: Money
    outcome: DisputeOutcome | None = None
    decided_at: datetime | None = None

    @property
    def state(self) -> DisputeState:
        """The outcome, or `open`."""
        return self.outcome or "open"


class Correction(Struct, frozen=True, kw_only=True):
    """An amount by which a confirmed order's invoice is reduced.

    `cause` is `cancelled`, or the cause of a refund; `credit_note` is the number of the credit note once issued.
    """

    cause: str
    lines: tuple[StockLine, ...]
    amount: Money
    since: datetime
    credit_note: str | None = None


class Latest(Struct, frozen=True):
    """The last event of a type: its version, and when (UTC) it was appended."""

    version: int
    appended_at: datetime


class Order(Struct, frozen=True, kw_only=True):
    """The state of an order after the first `version` events of its log. `captured` and `refunded` are minor units.

    Five fields sum up parcels and returns, so that the cost of applying an event does not depend on their number. By SKU, `undispatched`
    counts units neither dispatched nor cancelled, `delivered` delivered units, `returnable` delivered units without a return, and
    `unreturned` delivered units that were not received back. `parcels_in_transit` counts parcels neither delivered nor lost. `latest` has
    the last event of each type.
    """

    order_id: str
    version: int = 0
    state: State = "new"
    correlation_id: str = ""
    last_event_id: str | None = None
    placed_at: datetime | None = None
    confirmed_at: datetime | None = None
    placed: OrderPlaced | None = None
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
    contradicted_parcels: Parts[ContradictedParcel] = Parts[ContradictedParcel]()
    cancelled: tuple[StockLine, ...] = ()
    returns: Parts[Return] = Parts[Return]()
    refunds: Parts[RefundAttempt] = Parts[RefundAttempt]()
    disputes: Parts[Dispute] = Parts[Dispute]()
    invoice: str | None = None
    corrections: Parts[Correction] = Parts[Correction]()
    undispatched: Mapping[str, int] = {}
    delivered: Mapping[str, int] = {}
    returnable: Mapping[str, int] = {}
    unreturned: Mapping[str, int] = {}
    parcels_in_transit: int = 0
    latest: Mapping[str, Latest] = {}

    @property
    def customer(self) -> Customer:
        """The customer. Raises ValueError for an order that was never placed."""
        return self._request.customer

    @property
    def lines(self) -> tuple[Line, ...]:
        """The ordered lines. Raises ValueError for an order that was never placed."""
        return self._request.lines

    @property
    def total(self) -> Money:
        """The order's price. Raises ValueError for an order that was never placed."""
        return self._request.total

    @property
    def shipping_address(self) -> Address:
        """The shipping address. Raises ValueError for an order that was never placed."""
        return self._request.shipping_address

    @property
    def payment_country(self) -> Country:
        """The country of the means of payment as the client stated it. Raises ValueError for an order that was never placed."""
        return self._request.payment_country

    @property
    def charged_back(self) -> int:
        """Minor units of open and lost disputes."""
        return sum(dispute.amount.amount for dispute in self.disputes if dispute.outcome != "won")

    @property
    def net_captured(self) -> int:
        """Captured minor units less refunds and charge-backs; negative if banks withdrew more than was captured."""
        return self.captured - self.refunded - self.charged_back

    @property
    def _request(self) -> OrderPlaced:
        if self.placed is None:
            message = f"{self.order_id} was never placed"
            raise ValueError(message)
        return self.placed


def failing(order: Order, reason: RejectionReason, *details: str) -> Order:
    """Return the order as failing: from here it can only be compensated and rejected."""
    return replace(order, state="failing", failure=Failure(reason, details))


def corrected(order: Order, cause: str, lines: tuple[StockLine, ...], amount: Money, event: Event) -> Order:
    """Return the order with a correction of its invoice, due since `event`."""
    due = Correction(cause=cause, lines=lines, amount=amount, since=event.appended_at)
    return replace(order, corrections=order.corrections.put(cause, due))


def is_stopped(order: Order) -> bool:
    """Return whether no line of the order can be reserved, charged or dispatched any more."""
    return order.state == "failing" or (order.state == "cancelling" and (not order.confirmed_at or order.shipment == "recalled"))


def holds_nothing(order: Order) -> bool:
    """Return whether neither stock nor an authorized payment is held for the order."""
    return (order.reservation != "held" or not remaining(order)) and order.payment != "authorized"


def stock_lines(order: Order) -> tuple[StockLine, ...]:
    """Return the quantities that the order needs from stock."""
    return tuple(StockLine(line.sku, line.quantity) for line in order.lines)


def remaining(order: Order) -> tuple[StockLine, ...]:
    """Return the quantities neither dispatched nor cancelled."""
    return as_lines(order.undispatched)


def price(order: Order, lines: Iterable[StockLine]) -> Money:
    """Return the price of quantities of the order's products, at the order's prices.

    Raises:
        KeyError: a product is not in the order.
    """
    prices = {line.sku: line.unit_price for line in order.lines}
    return sum((prices[line.sku].times(line.quantity) for line in lines), Money(0, order.total.currency))
