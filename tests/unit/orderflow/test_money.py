"""Money adds up in minor units and never mixes currencies."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.money import CurrencyMismatch, Money

amounts = st.integers(-(10**15), 10**15)
euros = amounts.map(lambda amount: Money(amount, "EUR"))


@given(euros, euros, euros)
def test_sums_do_not_depend_on_order(one: Money, two: Money, three: Money) -> None:
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)


@given(euros, euros)
def test_what_was_added_can_be_taken_away(one: Money, two: Money) -> None:
    assert one + two - two == one


@given(euros, st.integers(0, 200))
def test_times_is_repeated_addition(price: Money, quantity: int) -> None:
    assert price.times(quantity) == sum((price for _ in range(quantity)), Money(0, "EUR"))


@given(amounts, amounts)
def test_two_currencies_never_meet_in_one_sum(one: int, two: int) -> None:
    with pytest.raises(CurrencyMismatch, match="EUR with USD"):
        _ = Money(one, "EUR") + Money(two, "USD")
    with pytest.raises(CurrencyMismatch):
        _ = Money(one, "EUR") - Money(two, "USD")


@pytest.mark.parametrize(
    "document",
    ['{"amount": 12.5, "currency": "EUR"}', '{"amount": 1, "currency": "eur"}', '{"amount": 1, "currency": "EUR\\n"}', '{"amount": 1}'],
)
def test_fractions_and_odd_currencies_are_no_money(document: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(document, type=Money)
