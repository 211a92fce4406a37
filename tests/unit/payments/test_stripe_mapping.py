"""Mapping of Stripe's objects: amounts in its units, payments from intents, and decline codes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from orderflow.domain.money import Money
from payments.provider import Authorized, Capture, Contradiction, Declined, Payment, ProviderRefused, Refund, Voided
from payments.sandbox import rules
from payments.stripe.mapping import (
    MANUAL,
    capture_metadata,
    customer_decline_code,
    decline_code,
    dispute_state,
    disputed_at,
    from_stripe,
    is_known,
    supports_multicapture,
    to_payment,
    to_refund,
    to_stripe,
)
from payments.stripe.objects import (
    BalanceTransaction,
    Card,
    Charge,
    Feature,
    PaymentError,
    PaymentIntent,
    PaymentMethodDetails,
    StripeDispute,
    StripeRefund,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CHARGE = Charge("ch_1")


def intent(status: str, **more: Any) -> PaymentIntent:
    return PaymentIntent("pi_1", status, 2500, "eur", **more)


@pytest.mark.parametrize(
    ("money", "units"),
    [
        (Money(1250, "EUR"), 1250),
        (Money(1250, "JPY"), 1250),
        (Money(500, "KRW"), 500),
        (Money(5, "UGX"), 500),
        (Money(5, "ISK"), 500),
        (Money(500, "MGA"), 5),
        (Money(1230, "KWD"), 1230),
    ],
)
def test_amounts_are_in_stripes_units(money: Money, units: int) -> None:
    assert to_stripe(money) == units
    assert from_stripe(units, money.currency.lower()) == money


# Amounts around the smallest chargeable step of each currency.
@pytest.mark.parametrize("currency", ["EUR", "JPY", "UGX", "ISK", "MGA", "KWD", "TND"])
@pytest.mark.parametrize("amount", [1, 5, 10, 99, 100, 101, 10_050, 20_100])
def test_sandbox_and_stripe_charge_the_same_amounts(currency: str, amount: int) -> None:
    def refused(request: Callable[[], object]) -> bool:
        try:
            request()
        except ProviderRefused as refusal:
            return refusal.code == Contradiction.AMOUNT_INVALID
        return False

    money = Money(amount, currency)
    declined = rules.authorize(None, "key", "tok_approved", money).payment == Declined("amount_invalid")
    assert refused(lambda: to_stripe(money)) == declined


@pytest.mark.parametrize("money", [Money(0, "EUR"), Money(-1, "EUR"), Money(1234, "KWD"), Money(550, "MGA") + Money(1, "MGA")])
def test_amount_that_stripe_cannot_express_is_refused(money: Money) -> None:
    with pytest.raises(ProviderRefused) as refused:
        to_stripe(money)
    assert refused.value.code == Contradiction.AMOUNT_INVALID


@given(amount=st.integers(1, 10**12), currency=st.sampled_from(["EUR", "USD", "JPY", "UGX", "ISK", "MGA", "KWD", "VND", "HUF"]))
def test_amount_survives_a_round_trip_or_is_refused(amount: int, currency: str) -> None:
    money = Money(amount, currency)
    try:
        units = to_stripe(money)
    except ProviderRefused:
        assert currency in {"MGA", "KWD"}
    else:
        assert from_stripe(units, currency.lower()) == money


@pytest.mark.parametrize(
    ("current", "payment"),
    [
        (intent("requires_payment_method"), None),
        (intent("requires_confirmation"), None),
        (intent("processing", latest_charge="ch_1"), None),
        (intent("requires_payment_method", last_payment_error=PaymentError("card_declined", "expired_card")), Declined("expired_card")),
        (intent("requires_payment_method", metadata={"declined": "invalid_token"}), Declined("invalid_token")),
        (intent("requires_action"), Declined("authentication_required")),
        (intent("requires_capture", latest_charge=CHARGE), Authorized("pi_1", Money(2500, "EUR"))),
        (intent("canceled"), Voided()),
        (intent("canceled", latest_charge="ch_1"), Voided("pi_1")),
        (
            intent("succeeded", latest_charge=CHARGE, amount_received=2500),
            Authorized("pi_1", Money(2500, "EUR"), captures=(Capture(MANUAL, "pi_1", Money(2500, "EUR")),)),
        ),
        (
            intent("succeeded", latest_charge=CHARGE, amount_received=100),
            Voided("pi_1", captures=(Capture(MANUAL, "pi_1", Money(100, "EUR")),)),
        ),
    ],
)
def test_intent_identifies_a_payment(current: PaymentIntent, payment: Payment | None) -> None:
    assert to_payment(current, []) == payment


@given(amounts=st.lists(st.integers(1, 100), min_size=1, max_size=20), manual=st.integers(0, 5))
def test_captures_are_read_from_the_metadata_in_their_order(amounts: list[int], manual: int) -> None:
    current = intent("requires_capture", latest_charge=CHARGE)
    for number, amount in enumerate(amounts):
        metadata = capture_metadata(current, f"ord_1:capture:parcel {number}", Money(amount, "EUR"))
        current = PaymentIntent(
            "pi_1", current.status, 2500, "eur", current.amount_received + amount, {**metadata, **current.metadata}, CHARGE
        )
    current = PaymentIntent("pi_1", current.status, 2500, "eur", sum(amounts) + manual, current.metadata, CHARGE)

    payment = to_payment(current, [])

    assert isinstance(payment, Authorized)
    keys = [f"ord_1:capture:parcel {number}" for number in range(len(amounts))] + [MANUAL] * (manual > 0)
    assert [capture.key for capture in payment.captures] == keys
    assert payment.captured == sum(amounts) + manual
    assert all(len(name) <= 40 for name in current.metadata)


def test_own_and_completed_foreign_refunds_are_listed_oldest_first() -> None:
    listed = [
        StripeRefund("re_5", 50, "eur", "failed", {"refund_key": "five"}),
        StripeRefund("re_4", 40, "eur", "succeeded"),
        StripeRefund("re_3", 30, "eur", "succeeded", balance_transaction="txn_3"),
        StripeRefund("re_2", 20, "eur", "pending", {"refund_key": "two"}),
        StripeRefund("re_1", 10, "eur", "succeeded", {"refund_key": "one"}, "txn_1"),
    ]

    payment = to_payment(intent("requires_capture", latest_charge=CHARGE, amount_received=200), listed)

    assert isinstance(payment, Authorized)
    assert payment.refunds == (
        Refund("one", "re_1", Money(10, "EUR")),
        Refund("two", "re_2", Money(20, "EUR"), "pending"),
        Refund(MANUAL, "re_3", Money(30, "EUR")),
        Refund("five", "re_5", Money(50, "EUR"), "failed", "failed"),
    )
    assert (payment.refunded, payment.refundable) == (40, 140)


@pytest.mark.parametrize(
    ("code", "detail", "reported"),
    [
        ("card_declined", "insufficient_funds", "insufficient_funds"),
        ("card_declined", "generic_decline", "card_declined"),
        *(("card_declined", code, "card_declined") for code in ("fraudulent", "lost_card", "merchant_blacklist", "stolen_card")),
        ("expired_card", None, "expired_card"),
        (None, None, "card_declined"),
    ],
)
def test_decline_has_the_customer_facing_code(code: str | None, detail: str | None, reported: str) -> None:
    assert decline_code(code, detail) == reported


@pytest.mark.parametrize(
    ("charge", "several"),
    [
        (None, False),
        ("ch_1", False),
        (Charge("ch_1"), False),
        (Charge("ch_1", PaymentMethodDetails(Card())), False),
        (Charge("ch_1", PaymentMethodDetails(Card(Feature("unavailable")))), False),
        (Charge("ch_1", PaymentMethodDetails(Card(Feature("available")))), True),
    ],
)
def test_multicapture_needs_the_cards_support(charge: Charge | str | None, several: bool) -> None:
    assert supports_multicapture(intent("requires_capture", latest_charge=charge)) == several


def listed(of: type, field: str) -> tuple[str, ...]:
    """Return the statuses that the SDK lists for a field."""
    literal, _ = get_args(inspect.get_annotations(of)[field])
    return get_args(literal)


def test_every_status_of_a_payment_intent_is_known() -> None:
    statuses = listed(stripe.PaymentIntent, "status")
    assert "requires_capture" in statuses
    assert all(is_known("payment", status) for status in statuses)
    assert not is_known("payment", "invented")
    assert to_payment(intent("invented"), []) is None


def test_every_status_of_a_refund_is_known() -> None:
    # The SDK's type is a plain string; its documentation names the values.
    [text] = re.findall(r"Status of the refund\. This can be (.*?)\. ", inspect.getsource(inspect.getmodule(stripe.Refund) or stripe))
    statuses = re.findall("`(.*?)`", text)
    assert {status: to_refund(StripeRefund("re_1", 1, "eur", status)).status for status in statuses} == {
        "pending": "pending",
        "requires_action": "pending",
        "succeeded": "succeeded",
        "failed": "failed",
        "canceled": "failed",
    }
    assert all(is_known("refund", status) for status in statuses)
    for status in ("invented", None):
        assert not is_known("refund", status)
        assert to_refund(StripeRefund("re_1", 1, "eur", status)).status == "pending"


def dispute(status: str, *moved: int) -> StripeDispute:
    return StripeDispute("dp_1", 2500, "eur", status, balance_transactions=[BalanceTransaction(amount) for amount in moved])


def test_every_status_of_a_dispute_is_known() -> None:
    statuses = listed(stripe.Dispute, "status")
    assert {status: dispute_state(dispute(status)) for status in statuses} == {
        "warning_needs_response": None,
        "warning_under_review": None,
        "warning_closed": None,
        "prevented": None,
        "needs_response": "open",
        "under_review": "open",
        "appeal_needs_response": "open",
        "appeal_under_review": "open",
        "won": "won",
        "lost": "lost",
    }
    assert all(is_known("dispute", status) for status in statuses)


def test_withdrawn_amount_decides_a_dispute_of_unknown_status() -> None:
    moved = [(), (-2500,), (-2500, 2500)]
    assert not is_known("dispute", "invented")
    assert [dispute_state(dispute("invented", *amounts)) for amounts in moved] == [None, "open", None]
    assert [dispute_state(dispute("prevented", *amounts)) for amounts in moved] == [None, "lost", None]


def test_dispute_begins_when_the_amount_is_withdrawn() -> None:
    inquiry = msgspec.structs.replace(dispute("warning_needs_response"), created=1_768_554_000)
    assert disputed_at(inquiry) == datetime(2026, 1, 16, 9, tzinfo=UTC)
    moved = [BalanceTransaction(2500, 1_768_640_500), BalanceTransaction(-2500, 1_768_640_400)]
    assert disputed_at(msgspec.structs.replace(inquiry, balance_transactions=moved)) == datetime(2026, 1, 17, 9, tzinfo=UTC)
    assert disputed_at(dispute("lost", -2500)) is None


# Codes of refused confirmations that the customer cannot solve by another card or amount.
FAULT_CODES = {
    "payment_method_unactivated",  # our account lacks the method
    "payment_method_configuration_failures",
    "payment_method_provider_timeout",
    "payment_method_invalid_parameter_testmode",
    "payment_method_bank_account_already_verified",
    "payment_method_bank_account_blocked",
}


def test_every_payment_method_code_is_a_decline_or_a_known_fault() -> None:
    literal = get_args(inspect.get_annotations(stripe.PaymentIntent.LastPaymentError)["code"])[0]
    codes = [code for code in get_args(literal) if code.startswith("payment_method_") and "microdeposit" not in code]
    assert len(codes) > 10
    for code in codes:
        assert customer_decline_code(code, None) == (None if code in FAULT_CODES else code), code


@pytest.mark.parametrize(
    ("code", "param", "reason"),
    [
        ("resource_missing", "payment_method", "invalid_token"),
        (None, "payment_method", "invalid_token"),
        (None, None, "invalid_token"),
        ("token_already_used", None, "token_already_used"),
        ("amount_too_small", "amount", "amount_too_small"),
        ("amount_too_large", "amount", "amount_too_large"),
        ("resource_missing", "intent", None),
        ("parameter_unknown", "off_session", None),
        ("parameter_unknown", "payment_method", None),
        (None, "off_session", None),
        ("payment_method_unactivated", "payment_method", None),
        ("country_unsupported", None, None),
    ],
)
def test_refusals_are_declines_or_faults(code: str | None, param: str | None, reason: str | None) -> None:
    assert customer_decline_code(code, param) == reason
