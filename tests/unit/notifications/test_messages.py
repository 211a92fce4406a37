"""What customers read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import get_args

import pytest

from notifications.domain.emails import NoEmail, compose
from orderflow.domain.events import (
    Address,
    CancelledBy,
    Customer,
    Event,
    EventData,
    Line,
    OrderCancelled,
    OrderConfirmed,
    OrderHeldForReview,
    OrderLinesCancelled,
    OrderRejected,
    PaymentRefunded,
    RejectionReason,
    ShipmentDispatched,
    StockLine,
    StockReserved,
)
from orderflow.domain.money import Money

ANN = Customer("ann", "ann@example.com")
LINES = (Line("MUG-BLUE", "Blue mug", 2, Money(1250, "EUR")), Line("JAR", "Glass jar", 1, Money(790, "EUR")))
ADDRESS = Address("Ann Lee", "1 High St", "Leeds", "LS1 1AA", "GB")


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


def test_a_confirmed_order_lists_what_was_bought() -> None:
    mail = compose(confirmed())
    assert mail.to == "ann@example.com"
    assert mail.subject == "Your order ord_1 is confirmed"
    assert "2 x Blue mug: EUR 25.00\n1 x Glass jar: EUR 7.90" in mail.text
    assert "Total: EUR 32.90" in mail.text


@pytest.mark.parametrize("reason", get_args(RejectionReason))
def test_a_rejected_order_says_why_and_that_nothing_is_charged(reason: RejectionReason) -> None:
    mail = compose(rejected(reason))
    assert mail.subject == "We could not complete your order ord_1"
    assert "You have not been charged." in mail.text
    assert reason not in mail.text


def test_each_reason_reads_differently() -> None:
    assert len({compose(rejected(reason)).text for reason in get_args(RejectionReason)}) == len(get_args(RejectionReason))


def test_how_fraud_is_judged_stays_inside() -> None:
    held = compose(event(OrderHeldForReview(ANN, Money(289_900, "EUR"), 65, ("new_customer", "velocity"))))
    assert held.subject == "We are checking your order ord_1"
    assert "EUR 2,899.00" in held.text
    for text in (held.text, compose(rejected("fraud_refused")).text):
        assert not any(word in text for word in ("65", "score", "velocity", "new_customer", "fraud"))


def test_a_mail_has_no_personal_data_that_it_does_not_need() -> None:
    mail = compose(confirmed())
    for part in ("Ann Lee", "High St", "LS1 1AA", "ann@example.com", "auth-1"):
        assert part not in mail.subject + mail.text


@pytest.mark.parametrize("email", ["", "ann", "@example.com", "ann@", "ann@example.com\nBcc: eve@example.com", "a b@c.d"])
def test_without_an_address_there_is_no_mail(email: str) -> None:
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


def test_a_cancelled_order_lists_what_was_cancelled_and_that_nothing_is_charged() -> None:
    mail = compose(cancelled())
    assert mail.subject == "Your order ord_1 is cancelled"
    assert "2 x Blue mug: EUR 25.00\n1 x Glass jar: EUR 7.90" in mail.text
    assert "You have not been charged." in mail.text


@pytest.mark.parametrize("made", [cancelled, lines_cancelled])
def test_who_cancelled_is_told_and_why_is_not(made: Callable[[CancelledBy], Event]) -> None:
    own, ours = (compose(made(by)).text for by in get_args(CancelledBy))
    assert "As you asked" in own
    assert "We are sorry" in ours
    assert "score" not in own + ours


def test_what_was_cancelled_of_an_order_is_counted() -> None:
    mail = compose(lines_cancelled())
    assert mail.subject == "The rest of your order ord_1 is cancelled"
    assert "2 x JAR\n\nYou are not charged the EUR 15.80" in mail.text


@pytest.mark.parametrize(
    ("complete", "told"), [(True, "Nothing of your order is missing now."), (False, "The rest of your order follows.")]
)
def test_a_parcel_that_left_says_what_is_in_it_and_what_it_costs(complete: bool, told: str) -> None:
    mail = compose(dispatched(complete=complete))
    assert mail.subject == "Your order ord_1 is on its way"
    assert "1 x MUG-BLUE\n1 x JAR\n\nWe charge EUR 20.40 for it. " + told in mail.text


@pytest.mark.parametrize(
    ("cause", "told"), [("return:ret_1", "what you sent back has arrived"), ("parcel:parcel_1", "was lost on its way")]
)
def test_money_paid_back_says_how_much_and_what_for(cause: str, told: str) -> None:
    mail = compose(refunded(cause))
    assert mail.subject == "We have paid you back for your order ord_1"
    assert "EUR 12.50" in mail.text
    assert told in mail.text


def test_other_events_lead_to_no_mail() -> None:
    with pytest.raises(NoEmail):
        compose(event(StockReserved((StockLine("MUG-BLUE", 2),))))
