"""The measurements of an appended event. An event is appended once, so duplicate deliveries do not count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.domain import metrics
from orderflow.domain.metrics import Measurement
from orderflow.domain.order import latest
from orderflow.domain.parcel_conditions import ParcelConditionAlerted
from orderflow.domain.payment import PaymentCaptured, PaymentRefunded
from orderflow.domain.stock import StockReservationFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from orderflow.domain.event import Event
    from orderflow.domain.order import Order

OUTCOMES = {"OrderConfirmed": "confirmed", "OrderHeldForReview": "held", "OrderRejected": "rejected", "OrderCancelled": "cancelled"}
_STARTS = ("OrderPlaced", "OrderReviewApproved", "OrderReviewRejected", "CancellationRequested")


def measured(order: Order, event: Event) -> Iterator[Measurement]:
    """Yield the measurements of an event that was appended to `order`, which is the order after it."""
    match event.data:
        case StockReservationFailed():
            yield Measurement(metrics.STOCK_OUTS, 1)
        case ParcelConditionAlerted(cause=cause):
            yield Measurement(metrics.PARCEL_ALERTS, 1, (("cause", cause),))
        case PaymentCaptured(amount=amount):
            yield Measurement(metrics.CAPTURED_AMOUNT, amount.amount, (("currency", amount.currency),))
        case PaymentRefunded(amount=amount):
            yield Measurement(metrics.REFUNDED_AMOUNT, amount.amount, (("currency", amount.currency),))
        case _ if (outcome := OUTCOMES.get(event.type)) and (since := _started(order)):
            seconds = max(0.0, round((event.appended_at - since).total_seconds(), 3))
            yield Measurement(metrics.ORDER_DECISION_SECONDS, seconds, (("outcome", outcome),))
        case _:
            return


def _started(order: Order) -> datetime | None:
    """Return when (UTC) the saga got the work that it decided."""
    start = latest(order, _STARTS)
    return start.appended_at if start else None
