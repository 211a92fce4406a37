"""What of an order's money is due, whatever happened before. No AWS, no clock."""

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
    """A parcel left, and nothing was taken for it."""

    parcel_id: str
    amount: Money


class Refund(Struct, frozen=True):
    """Money for a lost parcel or a received return is owed to the customer; `cause` is as in RecordRefund.

    `number` counts the refunds requested for the cause from 1: each failed or partial one is followed by another.
    """

    cause: str
    amount: Money
    number: int = 1


class VoidRemainder(Struct, frozen=True):
    """Nothing more will leave, and this much is still held."""

    amount: Money


type AmountDue = Capture | Refund | VoidRemainder

# Failed refunds of one cause after which a person takes over.
REFUND_ATTEMPTS = 3


def due(order: Order) -> tuple[AmountDue, ...]:
    """Return what can be done now to bring the order's money in line with what left, was lost and came back.

    Doing it may make more due: a lost parcel is paid for before that is given back. Nothing is due that the order's
    rules would not have recorded. While a dispute is open nothing is refunded. After a lost one, refunds are paid up to
    what the bank left, and `unpaid` is the rest: it may be the same money.
    """
    return (*_captures(order), *_refunds(order), *_voids(order))


def unpaid(order: Order) -> int:
    """Return the minor units that are owed to the customer and that `due` will not refund, for a person to look at.

    The bound of the captured money, a bank that kept it, or repeated failures of the provider leave them. Zero while a
    dispute is open: what is owed then waits for its outcome.
    """
    if _is_disputed(order):
        return 0
    owed = sum(amount.amount for _, amount in _owed(order))
    return owed - sum(refund.amount.amount for refund in _refunds(order))


def refund_causes(order: Order) -> Iterator[str]:
    """Yield the causes for which a refund may be owed, or was."""
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
    facts = decide(order, command)
    return bool(facts) and not isinstance(facts, Refusal)
