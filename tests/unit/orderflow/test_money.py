"""Money is added in minor units of one currency and formatted with its decimals."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.domain.money import CurrencyMismatch, Money, charge_step, format_money, unit, whole_dollars, worth

amounts = st.integers(-(10**15), 10**15)
euros = amounts.map(lambda amount: Money(amount, "EUR"))


@given(euros, euros, euros)
def test_sums_do_not_depend_on_order(one: Money, two: Money, three: Money) -> None:
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)


@given(euros, euros)
def test_addition_can_be_subtracted(one: Money, two: Money) -> None:
    assert one + two - two == one


@given(euros, st.integers(0, 200))
def test_times_is_repeated_addition(price: Money, quantity: int) -> None:
    assert price.times(quantity) == sum((price for _ in range(quantity)), Money(0, "EUR"))


@given(amounts, amounts)
def test_adding_two_currencies_is_refused(one: int, two: int) -> None:
    with pytest.raises(CurrencyMismatch, match="EUR with USD"):
        _ = Money(one, "EUR") + Money(two, "USD")
    with pytest.raises(CurrencyMismatch):
        _ = Money(one, "EUR") - Money(two, "USD")


@pytest.mark.parametrize(
    "document",
    ['{"amount": 12.5, "currency": "EUR"}', '{"amount": 1, "currency": "eur"}', '{"amount": 1, "currency": "EUR\\n"}', '{"amount": 1}'],
)
def test_fractions_and_unknown_currencies_are_refused(document: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(document, type=Money)


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(1250, "EUR"), "EUR 12.50"),
        (Money(5, "USD"), "USD 0.05"),
        (Money(0, "GBP"), "GBP 0.00"),
        (Money(289_900, "EUR"), "EUR 2,899.00"),
        (Money(1250, "JPY"), "JPY 1,250"),
        (Money(1250, "KWD"), "KWD 1.250"),
        (Money(12_500, "CLF"), "CLF 1.2500"),
        (Money(-5, "EUR"), "EUR -0.05"),
        (Money(-123_456, "EUR"), "EUR -1,234.56"),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(money: Money, text: str) -> None:
    assert format_money(money) == text


@given(st.integers(-(10**15), 10**15), st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_no_amount_loses_a_minor_unit(minor: int, currency: str) -> None:
    digits = format_money(Money(minor, currency)).removeprefix(f"{currency} ").replace(",", "").replace(".", "")
    assert int(digits) == minor


def test_whole_units_are_the_integer_part() -> None:
    assert [unit(currency) for currency in ("EUR", "JPY", "KWD", "CLF")] == [100, 1, 1000, 10_000]


def test_providers_charge_multiples_of_the_currencys_step() -> None:
    assert [charge_step(currency) for currency in ("EUR", "JPY", "UGX", "KWD", "MGA")] == [1, 1, 1, 10, 100]


@pytest.mark.parametrize(
    ("currency", "minor"),
    [("EUR", 100_000), ("GBP", 100_000), ("JPY", 150_000), ("VND", 25_000_000), ("KWD", 310_000), ("MGA", 450_000_000), ("CLF", 300_000)],
)
def test_thousand_dollars_are_converted_by_value(currency: str, minor: int) -> None:
    assert worth(100_000, currency) == minor
    assert whole_dollars(Money(minor, currency)) == 1_000


@given(st.integers(0, 10**9), st.sampled_from(["EUR", "JPY", "VND", "KWD", "CLF"]))
def test_whole_dollars_never_exceed_the_amount(minor: int, currency: str) -> None:
    dollars = whole_dollars(Money(minor, currency))
    assert worth(dollars * 100, currency) <= minor
