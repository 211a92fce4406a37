"""Screens an order for fraud: returns the recorded screening, or scores the order and records the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

from fraud.domain import fraud_rules
from orderflow.domain.commands import RecordScreening, Refusal, decide
from orderflow.domain.order import Order, Screening, step_blocker

if TYPE_CHECKING:
    from collections.abc import Callable

    from fraud.order_history import OrderHistory
    from orderflow.aws.order_log import OrderLog

ScreenOutcome = Literal["approved", "held", "refused", "failing", "cancelling", "inactive", "unreserved"]


class ScreeningNotPossible(RuntimeError):
    """The order's state does not allow a screening."""


def screen(
    log: OrderLog, history: OrderHistory, flags: Callable[[], fraud_rules.FraudFlags], order_id: str, *, reviewed: bool = True
) -> ScreenOutcome:
    """Screen the order and return the outcome. Idempotent: a recorded screening is returned regardless of the current flags.

    Without reviews (`reviewed`) an order is refused instead of held.

    Raises:
        OrderNotFound: there is no such order.
        ScreeningNotPossible: the order's state does not allow a screening.
        Conflict: every attempt lost against a concurrent append.
    """
    order = log.load(order_id)
    if known := known_outcome(order):
        return known
    current = flags()
    screening = fraud_rules.score_order(_screening_input(order, history, current.fraud), current, reviewed=reviewed)
    order = log.record(order, RecordScreening(screening), source="fraud").order
    return known_outcome(order) or _raise_not_possible(order)


def known_outcome(order: Order) -> ScreenOutcome | None:
    """Return the outcome that the log has recorded, or None if the order is not screened yet."""
    match step_blocker(order), order.screening:
        case "failing", Screening(decision="refuse"):
            return "refused"
        case ("held" | "failing" | "cancelling" | "inactive" | "unreserved") as blocker, _:
            return blocker
        case _, None:
            return None
        case _:
            return "approved"


def _screening_input(order: Order, history: OrderHistory, thresholds: fraud_rules.Thresholds) -> fraud_rules.ScreeningInput:
    probe = RecordScreening(Screening("approve", 0, ()))
    if order.placed_at is None or isinstance(decide(order, probe), Refusal):
        _raise_not_possible(order)
    history.add(order, order.placed_at)
    return fraud_rules.ScreeningInput(
        total=order.total,
        shipping_country=order.shipping_address.country,
        payment_country=order.payment_country,
        placed_at=order.placed_at,
        preceding=history.preceding(order, order.placed_at, thresholds.velocity.orders),
    )


def _raise_not_possible(order: Order) -> NoReturn:
    message = f"order {order.order_id} cannot be screened: its state is {order.state}, its reservation {order.reservation}"
    raise ScreeningNotPossible(message)
