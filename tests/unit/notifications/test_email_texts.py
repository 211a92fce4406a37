"""The texts of the emails to customers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import get_args

import pytest

from notifications.domain import alert_texts
from notifications.domain.emails import NoEmail, compose
from orderflow.domain.events import (
    CancelledBy,
    Customer,
    CustomerId,
    Event,
    EventData,
    Line,
    OrderCancelled,
    OrderConfirmed,
    OrderHeldForReview,
    OrderLinesCancelled,
    OrderRejected,
    ParcelCause,
    ParcelConditionAlerted,
    ParcelConditionResolved,
    PaymentRefunded,
    RejectionReason,
    ShipmentDispatched,
    ShipmentReportContradicted,
    StockLine,
    StockReserved,
    TemperatureRange,
)
from orderflow.domain.money import Money
from tests.support.orders import ADDRESS, ANN, MUGS

LINES = (MUGS, Line("JAR", "Glass jar", 1, Money(790, "EUR")))


def event(data: EventData) -> Event:
    return Event(
        event_id="ord_1:5",
        type=type(data).__name__,
        schema_version=1,
        occurred_at=datetime(2026, 1, 15, tzinfo=UTC),
        source="orders",
        correlation_id="c-1",
        causation_id="ord_1:4",
        order_id="ord_1",
        order_version=5,
        data=data,
    )


def confirmed(customer: Customer = ANN) -> Event:
    return event(OrderConfirmed(customer, LINES, Money(3290, "EUR"), ADDRESS, "auth-1"))


def rejected(reason: RejectionReason) -> Event:
    return event(OrderRejected(ANN, LINES, Money(3290, "EUR"), reason, ("score 90", "velocity")))


def test_confirmation_lists_the_lines_and_the_total() -> None:
    email = compose(confirmed())
    assert email.to == "ann@example.com"
    assert email.subject == "Your order ord_1 is confirmed"
    assert "2 x Blue mug: EUR 25.00\n1 x Glass jar: EUR 7.90" in email.text
    assert "Total: EUR 32.90" in email.text


@pytest.mark.parametrize("reason", get_args(RejectionReason))
def test_rejection_names_the_reason_and_that_nothing_is_charged(reason: RejectionReason) -> None:
    email = compose(rejected(reason))
    assert email.subject == "We could not complete your order ord_1"
    assert "You have not been charged." in email.text
    assert reason not in email.text


def test_each_rejection_reason_has_its_own_text() -> None:
    assert len({compose(rejected(reason)).text for reason in get_args(RejectionReason)}) == len(get_args(RejectionReason))


def test_emails_reveal_nothing_about_fraud_rules() -> None:
    held = compose(event(OrderHeldForReview(ANN, Money(289_900, "EUR"), 65, ("new_customer", "velocity"))))
    assert held.subject == "We are checking your order ord_1"
    assert "EUR 2,899.00" in held.text
    for text in (held.text, compose(rejected("fraud_refused")).text):
        assert not any(word in text for word in ("65", "score", "velocity", "new_customer", "fraud"))


def test_confirmation_contains_no_unneeded_personal_data() -> None:
    email = compose(confirmed())
    for part in ("Ann Lee", "High St", "LS1 1AA", "ann@example.com", "auth-1"):
        assert part not in email.subject + email.text


@pytest.mark.parametrize("email", ["", "ann", "@example.com", "ann@", "ann@example.com\nBcc: eve@example.com", "a b@c.d"])
def test_unusable_address_leads_to_no_email(email: str) -> None:
    with pytest.raises(NoEmail):
        compose(confirmed(Customer("ann", email)))


def lines_cancelled(by: CancelledBy = "customer") -> Event:
    return event(OrderLinesCancelled(ANN, (StockLine("JAR", 2),), Money(1580, "EUR"), by, "score 90"))


def cancelled(by: CancelledBy = "customer") -> Event:
    return event(OrderCancelled(ANN, LINES, Money(3290, "EUR"), by, "score 90"))


def dispatched(*, complete: bool = True) -> Event:
    return event(ShipmentDispatched(ANN, "parcel_1", (StockLine("MUG-BLUE", 1), StockLine("JAR", 1)), Money(2040, "EUR"), complete))


def refunded(cause: str) -> Event:
    return event(PaymentRefunded(ANN, "ref_1", cause, Money(1250, "EUR")))


def test_cancellation_lists_the_lines_and_that_nothing_is_charged() -> None:
    email = compose(cancelled())
    assert email.subject == "Your order ord_1 is cancelled"
    assert "2 x Blue mug: EUR 25.00\n1 x Glass jar: EUR 7.90" in email.text
    assert "You have not been charged." in email.text


@pytest.mark.parametrize("made", [cancelled, lines_cancelled])
def test_cancellation_names_who_cancelled_but_no_reason(made: Callable[[CancelledBy], Event]) -> None:
    own, ours = (compose(made(by)).text for by in get_args(CancelledBy))
    assert "As you asked" in own
    assert "We are sorry" in ours
    assert "score" not in own + ours


def test_partial_cancellation_lists_the_cancelled_items() -> None:
    email = compose(lines_cancelled())
    assert email.subject == "The rest of your order ord_1 is cancelled"
    assert "2 x JAR\n\nYou are not charged EUR 15.80 for these items." in email.text


@pytest.mark.parametrize(("complete", "rest"), [(True, "This completes your order."), (False, "The rest of your order follows.")])
def test_dispatch_lists_the_items_and_the_charge(complete: bool, rest: str) -> None:
    email = compose(dispatched(complete=complete))
    assert email.subject == "Your order ord_1 is on its way"
    assert "1 x MUG-BLUE\n1 x JAR\n\nWe charge EUR 20.40 for this parcel. " + rest in email.text


@pytest.mark.parametrize(("cause", "reason"), [("return:ret_1", "We have received your return."), ("parcel:parcel_1", "lost in transit")])
def test_refund_names_the_amount_and_the_reason(cause: str, reason: str) -> None:
    email = compose(refunded(cause))
    assert email.subject == "Your refund for order ord_1"
    assert "EUR 12.50" in email.text
    assert reason in email.text


def test_other_events_lead_to_no_email() -> None:
    with pytest.raises(NoEmail):
        compose(event(StockReserved((StockLine("MUG-BLUE", 2),))))


def condition(cause: ParcelCause) -> Event:
    lines = (StockLine("CHEESE-BRIE", 2),)
    since = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    return event(ParcelConditionAlerted(ANN, "parcel_1", cause, since, lines, 124, TemperatureRange(20, 80)))


def test_spoiled_goods_are_listed_with_the_offer_of_a_return() -> None:
    email = compose(condition("goods_spoiled"))
    assert email.to == "ann@example.com"
    assert "2 x CHEESE-BRIE" in email.text
    assert "return" in email.text


@pytest.mark.parametrize("cause", ["temperature_out_of_range", "not_moving", "silent"])
def test_other_conditions_lead_to_no_email(cause: ParcelCause) -> None:
    with pytest.raises(NoEmail):
        compose(condition(cause))


def text_of(event: Event) -> str:
    alert = alert_texts.compose(event)
    assert alert
    return alert.text


@pytest.mark.parametrize("cause", get_args(ParcelCause))
def test_alert_names_order_parcel_and_temperatures_but_no_customer(cause: ParcelCause) -> None:
    text = text_of(condition(cause))
    assert text.startswith("Order ord_1: parcel parcel_1 ")
    assert text.endswith("since 2026-01-15 09:30 UTC (2 x CHEESE-BRIE; last at 12.4 °C, required 2 to 8 °C).")
    assert "ann" not in text


def test_alert_of_a_parcel_that_never_reported_has_no_temperature() -> None:
    alert = event(ParcelConditionAlerted(ANN, "parcel_1", "silent", datetime(2026, 1, 15, tzinfo=UTC), (StockLine("MUG-BLUE", 1),)))
    assert text_of(alert) == "Order ord_1: parcel parcel_1 sends no readings since 2026-01-15 00:00 UTC (1 x MUG-BLUE)."


def test_alert_of_a_resolved_condition_names_its_cause() -> None:
    now = datetime(2026, 1, 15, tzinfo=UTC)
    resolved = event(ParcelConditionResolved(CustomerId("ann"), "parcel_1", "not_moving", now, now))
    assert text_of(resolved) == "Order ord_1: the condition `not_moving` of parcel parcel_1 ended at 2026-01-15 00:00 UTC."


def test_alert_of_a_contradicting_report_names_both_reports() -> None:
    found = event(ShipmentReportContradicted(CustomerId("ann"), "parcel_1", (StockLine("MUG-BLUE", 1),), "lost", "delivered"))
    assert text_of(found) == "Order ord_1: the carrier reported parcel parcel_1 (1 x MUG-BLUE) as delivered, after it was lost."


def test_alert_of_an_unexpected_parcel_names_its_lines() -> None:
    found = event(ShipmentReportContradicted(CustomerId("ann"), "parcel_9", (StockLine("MUG-BLUE", 2),), None, "dispatched"))
    reported = "the carrier reported parcel parcel_9 (2 x MUG-BLUE) as dispatched"
    assert text_of(found) == f"Order ord_1: {reported}, but the order has no such lines left to dispatch."


def test_orders_lead_to_no_alert() -> None:
    assert alert_texts.compose(confirmed()) is None
