"""The amounts due of an order: captures, refunds and voids that settle its payment."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.domain.commands import Command, RecordCapture, RecordVoid, Refusal, decide, owed_for
from orderflow.domain.money import Money, charge_step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orderflow.domain.order import Order


class Capture(Struct, frozen=True):
    """A dispatched parcel whose amount is not captured."""

    parcel_id: str
    amount: Money


class Refund(Struct, frozen=True):
    """A refund owed for a lost parcel or a received return; `cause` is as in RecordRefund.

    `number` counts the refunds of the cause from 1: another one follows a failed or partial refund.
    """

    cause: str
    amount: Money
    number: int = 1


class VoidRemainder(Struct, frozen=True):
    """The authorized amount that will not be captured, because nothing more will be dispatched."""

    amount: Money


type AmountDue = Capture | Refund | VoidRemainder

# Failed refunds of one cause after which an operator takes over.
REFUND_ATTEMPTS = 3


def due(order: Order) -> tuple[AmountDue, ...]:
    """Return the captures, refunds and voids that are due for the order's dispatches, losses and returns.

    Settling them can make more due: a lost parcel is captured before it is refunded. Only amounts that the order's rules
    would record are due. Nothing is refunded while a dispute is open. After a lost dispute, refunds are due up to the net
    captured amount, and `unpaid` is the rest: the bank may have returned the same money.
    """
    return (*_captures(order), *_refunds(order), *_voids(order))


def unpaid(order: Order) -> int:
    """Return the amount owed to the customer that `due` will not refund, in minor units, for an operator.

    Causes are the captured amount as upper limit, a lost dispute, or repeated failures of the provider. Zero while a
    dispute is open, because its outcome decides.
    """
    if _is_disputed(order):
        return 0
    owed = sum(amount.amount for _, amount in _owed(order))
    return owed - sum(refund.amount.amount for refund in _refunds(order))


def refund_causes(order: Order) -> Iterator[str]:
    """Yield the causes that can make a refund due: lost parcels and returns."""
    yield from (f"parcel:{parcel.parcel_id}" for parcel in order.parcels if parcel.state == "lost")
    yield from (f"return:{one.return_id}" for one in order.returns)


def _captures(order: Order) -> Iterator[Capture]:
    for parcel in order.parcels:
        if _would_record(order, RecordCapture(parcel.parcel_id, "")):
            yield Capture(parcel.parcel_id, parcel.amount)


def _refunds(order: Order) -> Iterator[Refund]:
    left = 0 if _is_disputed(order) else max(0, order.net_captured)
    attempts = Counter(attempt.cause for attempt in order.refunds)
    failures = Counter(attempt.cause for attempt in order.refunds if not attempt.refunded)
    for cause, owed in _owed(order):
        amount = min(owed.amount, left)
        amount -= amount % charge_step(owed.currency)
        if amount and failures[cause] < REFUND_ATTEMPTS:
            left -= amount
            yield Refund(cause, Money(amount, owed.currency), attempts[cause] + 1)


def _owed(order: Order) -> Iterator[tuple[str, Money]]:
    for cause in refund_causes(order):
        owed = owed_for(order, cause)
        if isinstance(owed, Money) and owed.amount:
            yield cause, owed


def _is_disputed(order: Order) -> bool:
    return any(dispute.outcome is None for dispute in order.disputes)


def _voids(order: Order) -> Iterator[VoidRemainder]:
    if order.payment == "authorized" and order.authorization_id and _would_record(order, RecordVoid(order.authorization_id)):
        yield VoidRemainder(Money(order.total.amount - order.captured, order.total.currency))


def _would_record(order: Order, command: Command) -> bool:
    event_data = decide(order, command)
    return bool(event_data) and not isinstance(event_data, Refusal)
