"""Disputes: the customer's bank withdraws captured money until the dispute is decided."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace

from orderflow.domain.event import EventData
from orderflow.domain.money import Money
from orderflow.domain.order_state import Dispute, DisputeOutcome, DisputeState
from orderflow.domain.registry import Command, decides, evolves, refuse, upcasts
from orderflow.domain.values import Moment

if TYPE_CHECKING:
    from orderflow.domain.event import Event
    from orderflow.domain.order_state import Order
    from orderflow.domain.registry import Decision

# Far above real orders; it bounds the cost of folding and reading an order. The webhook event of a further dispute is dead-lettered,
# which raises an alarm.
MAX_DISPUTES = 50


class PaymentDisputed(EventData, frozen=True):
    """The customer's bank withdrew captured money until the dispute is decided.

    `disputed` is the bank's amount in its currency; `amount` is the booked amount in the order's currency.
    """

    schema_version: ClassVar[int] = 2

    dispute_id: str
    amount: Money
    disputed: Money
    reason: str


class DisputeClosed(EventData, frozen=True):
    """An open dispute was decided: `won` returns the money to the shop, `lost` leaves it with the customer."""

    dispute_id: str
    amount: Money
    outcome: DisputeOutcome
    decided_at: Moment | None = None


class DisputeOutcomeChanged(EventData, frozen=True):
    """A decided dispute was reopened (`after` is `open`) or decided differently on appeal."""

    dispute_id: str
    amount: Money
    before: DisputeState
    after: DisputeState
    decided_at: Moment | None = None


class RecordDispute(Command, frozen=True):
    """Record a dispute of `amount` as the bank reports it, in any currency."""

    dispute_id: str
    amount: Money
    reason: str


class CloseDispute(Command, frozen=True):
    """Record a dispute's outcome, first or changed; an outcome older than the recorded one has no effect."""

    dispute_id: str
    outcome: DisputeOutcome
    decided_at: datetime | None = None


class ReopenDispute(Command, frozen=True):
    """Record that a decided dispute is open again after an appeal."""

    dispute_id: str
    reopened_at: datetime | None = None


@upcasts(PaymentDisputed, 1)
def _in_order_currency(data: dict[str, Any]) -> dict[str, Any]:
    """Add the reported amount: version 1 accepted disputes in the order's currency only."""
    return {**data, "disputed": data["amount"]}


@decides(RecordDispute)
def _open(order: Order, command: RecordDispute) -> Decision:
    """Record a dispute in any state of a paid order, because the bank has already withdrawn the money."""
    if order.disputes.get(command.dispute_id):
        return ()
    if order.authorization_id is None or command.amount.amount <= 0:
        return refuse(order, command, "only money of a payment can be disputed")
    if len(order.disputes) >= MAX_DISPUTES:
        return refuse(order, command, f"an order has at most {MAX_DISPUTES} disputes")
    booked = _booked(order, command.amount)
    return (PaymentDisputed(command.dispute_id, booked, command.amount, command.reason),)


@decides(CloseDispute)
def _close(order: Order, command: CloseDispute) -> Decision:
    return _change(order, command, command.outcome, command.decided_at)


@decides(ReopenDispute)
def _reopen(order: Order, command: ReopenDispute) -> Decision:
    return _change(order, command, "open", command.reopened_at)


def _change(order: Order, command: CloseDispute | ReopenDispute, after: DisputeState, moment: datetime | None) -> Decision:
    known = order.disputes.get(command.dispute_id)
    if known is None:
        return refuse(order, command, f"dispute {command.dispute_id} is unknown")
    stale = known.decided_at is not None and moment is not None and moment <= known.decided_at
    if after == known.state or stale:
        return ()
    if known.outcome is None and after != "open":
        return (DisputeClosed(known.dispute_id, known.amount, after, moment),)
    return (DisputeOutcomeChanged(known.dispute_id, known.amount, known.state, after, moment),)


def _booked(order: Order, disputed: Money) -> Money:
    """Return a dispute's amount in the order's currency.

    The bank's exchange rate is unknown, so an amount in another currency is booked as the whole remaining payment.
    """
    currency = order.total.currency
    if disputed.currency == currency:
        return disputed
    return Money(max(0, order.net_captured if order.captured else order.total.amount), currency)


@evolves(PaymentDisputed, appended_by="payments")
def _opened(order: Order, data: PaymentDisputed, _event: Event) -> Order:
    return replace(order, disputes=order.disputes.put(data.dispute_id, Dispute(data.dispute_id, data.amount)))


@evolves(DisputeClosed, appended_by="payments")
def _closed(order: Order, data: DisputeClosed, _event: Event) -> Order:
    return _with_outcome(order, data.dispute_id, data.outcome, data.decided_at)


@evolves(DisputeOutcomeChanged, appended_by="payments")
def _outcome_changed(order: Order, data: DisputeOutcomeChanged, _event: Event) -> Order:
    return _with_outcome(order, data.dispute_id, None if data.after == "open" else data.after, data.decided_at)


def _with_outcome(order: Order, dispute_id: str, outcome: DisputeOutcome | None, decided_at: datetime | None) -> Order:
    known = order.disputes.get(dispute_id)
    if known is None:
        return order
    return replace(order, disputes=order.disputes.put(dispute_id, replace(known, outcome=outcome, decided_at=decided_at)))
