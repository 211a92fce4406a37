"""What of an order's money is due, whatever happened before. No AWS, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.commands import Command, RecordCapture, RecordRefund, RecordVoid, Refusal, decide
from orderflow.money import Money

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orderflow.order import Order


class Capture(Struct, frozen=True):
    """A parcel left, and nothing was taken for it."""

    parcel_id: str
    amount: Money


class Refund(Struct, frozen=True):
    """What was taken for a parcel that was lost, or for a return that came, is the customer's; `cause` is as in RecordRefund."""

    cause: str
    amount: Money


class VoidRest(Struct, frozen=True):
    """Nothing more will leave, and this much is still held."""

    amount: Money


type Due = Capture | Refund | VoidRest


def due(order: Order) -> tuple[Due, ...]:
    """Return what can be done now to bring the order's money in line with what left, was lost and came back.

    Doing it may make more due: a lost parcel is paid for before that is given back. Nothing is due that the order's
    rules would not have recorded. While a dispute is open nothing is refunded, and after a lost one only what the bank
    left: it may be the same money.
    """
    return (*_captures(order), *_refunds(order), *_rest(order))


def _captures(order: Order) -> Iterator[Capture]:
    for parcel in order.parcels:
        if _is_taken(order, RecordCapture(parcel.parcel_id, "")):
            yield Capture(parcel.parcel_id, parcel.amount)


def _refunds(order: Order) -> Iterator[Refund]:
    left = _refundable(order)
    for cause, amount in _owed(order):
        if amount.amount <= left and _is_taken(order, RecordRefund("", cause)):
            left -= amount.amount
            yield Refund(cause, amount)


def _owed(order: Order) -> Iterator[tuple[str, Money]]:
    yield from ((f"parcel:{parcel.parcel_id}", parcel.amount) for parcel in order.parcels)
    yield from ((f"return:{one.return_id}", one.amount) for one in order.returns if one.amount is not None)


def _refundable(order: Order) -> int:
    if any(dispute.outcome is None for dispute in order.disputes):
        return -1
    charged_back = sum(dispute.amount.amount for dispute in order.disputes if dispute.outcome == "lost")
    return order.captured - order.refunded - charged_back


def _rest(order: Order) -> Iterator[VoidRest]:
    if order.payment == "authorized" and order.authorization_id and _is_taken(order, RecordVoid(order.authorization_id)):
        yield VoidRest(Money(order.total.amount - order.captured, order.total.currency))


def _is_taken(order: Order, command: Command) -> bool:
    facts = decide(order, command)
    return bool(facts) and not isinstance(facts, Refusal)
