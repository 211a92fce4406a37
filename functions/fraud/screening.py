"""Screening one order: answered from the log where that was done before, scored and recorded otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

from fraud.domain import fraud_rules
from orderflow.domain.commands import RecordScreening, Refusal, decide
from orderflow.domain.order import Order, Screening, step_blocker

if TYPE_CHECKING:
    from collections.abc import Callable

    from fraud.order_history import OrderHistory
    from orderflow.aws.order_log import OrderLog

ScreenOutcome = Literal["approved", "held", "refused", "failing", "cancelling", "ended", "unreserved"]


class ScreeningNotPossible(RuntimeError):
    """The order is not at the point where it can be screened."""


def screen(log: OrderLog, times: OrderHistory, flags: Callable[[], fraud_rules.FraudFlags], order_id: str) -> ScreenOutcome:
    """Screen the order and return what came of it; the same again for an order screened before, whatever the flags are now.

    Raises:
        OrderNotFound: there is no such order.
        ScreeningNotPossible: its state does not allow it.
        Conflict: others kept appending to it.
    """
    order = log.load(order_id)
    if known := known_outcome(order):
        return known
    in_force = flags()
    command = RecordScreening(fraud_rules.score_order(_screening_input(order, times, in_force.fraud), in_force))
    after = log.record(order, command, source="fraud")
    return known_outcome(after) or _not_screenable(after)


def known_outcome(order: Order) -> ScreenOutcome | None:
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


def _screening_input(order: Order, times: OrderHistory, thresholds: fraud_rules.Thresholds) -> fraud_rules.ScreeningInput:
    probe = RecordScreening(Screening("approve", 0, ()))
    if order.placed_at is None or isinstance(decide(order, probe), Refusal):
        _not_screenable(order)
    times.remember(order, order.placed_at)
    return fraud_rules.ScreeningInput(
        total=order.total,
        shipping_country=order.shipping_address.country,
        payment_country=order.payment_country,
        placed_at=order.placed_at,
        preceding=times.preceding(order, order.placed_at, thresholds.velocity.orders),
    )


def _not_screenable(order: Order) -> NoReturn:
    message = f"{order.order_id} is {order.state} with reservation {order.reservation}: it cannot be screened"
    raise ScreeningNotPossible(message)
