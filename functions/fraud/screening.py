"""Screening one order: answered from the log where that was done before, scored and recorded otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

from fraud.domain import rules
from orderflow.domain.commands import RecordScreening, Refusal, decide
from orderflow.domain.order import Order, Screening, step_blocker

if TYPE_CHECKING:
    from collections.abc import Callable

    from fraud.store import OrderTimes
    from orderflow.aws.order_log import OrderLog

Outcome = Literal["approved", "held", "refused", "failing", "cancelling", "ended", "unreserved"]


class NotScreenable(RuntimeError):
    """The order is not at the point where it can be screened."""


def screen(log: OrderLog, times: OrderTimes, flags: Callable[[], rules.Flags], order_id: str) -> Outcome:
    """Screen the order and return what came of it; the same again for an order screened before, whatever the flags are now.

    Raises:
        OrderNotFound: there is no such order.
        NotScreenable: its state does not allow it.
        Conflict: others kept appending to it.
    """
    order = log.load(order_id)
    if known := outcome(order):
        return known
    in_force = flags()
    command = RecordScreening(rules.screen(_facts(order, times, in_force.fraud), in_force))
    after = log.record(order, command, source="fraud")
    return outcome(after) or _not_screenable(after)


def outcome(order: Order) -> Outcome | None:
    """Return what the log says of the order's screening, or None when it is still to be screened."""
    match step_blocker(order), order.screening:
        case "failing", Screening(decision="refuse"):
            return "refused"
        case ("held" | "failing" | "cancelling" | "ended" | "unreserved") as stands, _:
            return stands
        case _, None:
            return None
        case _:
            return "approved"


def _facts(order: Order, times: OrderTimes, thresholds: rules.Thresholds) -> rules.Facts:
    probe = RecordScreening(Screening("approve", 0, ()))
    if order.placed_at is None or isinstance(decide(order, probe), Refusal):
        _not_screenable(order)
    times.remember(order, order.placed_at)
    return rules.Facts(
        total=order.total,
        shipping_country=order.shipping_address.country,
        payment_country=order.payment_country,
        placed_at=order.placed_at,
        preceding=times.preceding(order, order.placed_at, thresholds.velocity.orders),
    )


def _not_screenable(order: Order) -> NoReturn:
    message = f"{order.order_id} is {order.state} with reservation {order.reservation}: it cannot be screened"
    raise NotScreenable(message)
