"""Compares an order's payment at the provider with the order log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from payments.domain import amounts_due
from payments.provider import Authorized, Movements, Payment

if TYPE_CHECKING:
    from orderflow.domain.order import Order

# The saga still works on these orders: one side may be a step ahead of the other.
IN_PROGRESS = {"new", "placed", "held", "failing", "cancelling"}


class Difference(Struct, frozen=True):
    """A field that differs between provider and log; amounts are in minor units."""

    field: str
    provider: str | int | bool | None
    log: str | int | bool | None


def differences(order: Order, payment: Payment | None) -> tuple[Difference, ...]:
    """Return the differing fields; none while the saga works on the order."""
    if order.state in IN_PROGRESS:
        return ()
    there, here = _provider_view(payment), _log_view(order)
    return tuple(Difference(what, there[what], here[what]) for what in here if there[what] != here[what])


def unpaid_difference(order: Order, payment: Payment | None) -> tuple[Difference, ...]:
    """Return the amount owed to the customer that settling did not refund: pending, failed, or above the captured amount.

    An open dispute defers refunds, so it is no difference.
    """
    owed = amounts_due.unpaid(order) + sum(one.amount.amount for one in amounts_due.due(order) if isinstance(one, amounts_due.Refund))
    if order.state in IN_PROGRESS or not owed:
        return ()
    pending = payment.refunds if isinstance(payment, Movements) else ()
    return (Difference("owed", sum(one.amount.amount for one in pending if one.status == "pending"), owed),)


def _provider_view(payment: Payment | None) -> dict[str, str | int | bool | None]:
    moved = payment if isinstance(payment, Movements) else Movements()
    return {
        "authorization": getattr(payment, "authorization_id", None),
        "captured": moved.captured,
        "refunded": moved.refunded,
        "held": isinstance(payment, Authorized) and moved.captured < payment.amount.amount,
    }


def _log_view(order: Order) -> dict[str, str | int | bool | None]:
    return {
        "authorization": order.authorization_id,
        "captured": order.captured,
        "refunded": order.refunded,
        "held": order.payment == "authorized" and order.captured < order.total.amount,
    }
