"""Prices, totals and ids of orders."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.domain.events import StockLine
from orderflow.domain.money import Money, charge_step
from orders.domain.pricing import (
    MixedCurrencies,
    NotChargeable,
    NothingToPay,
    Product,
    QuantityTooLarge,
    UnknownProducts,
    merge,
    order_id,
    price,
)

CATALOGUE = {
    "MUG": Product("MUG", "Mug", Money(1250, "EUR")),
    "TEA": Product("TEA", "Tea", Money(990, "EUR")),
    "SHIRT": Product("SHIRT", "Shirt", Money(1900, "USD")),
    "RADIO": Product("RADIO", "Radio", Money(5900, "EUR"), active=False),
    "SAMPLE": Product("SAMPLE", "Sample", Money(0, "EUR")),
}
texts = st.text(max_size=30)
lines = st.lists(st.builds(StockLine, st.sampled_from(["MUG", "TEA", "SAMPLE"]), st.integers(1, 50)), min_size=1, max_size=15)


@given(texts, texts, texts, texts)
def test_order_id_is_unique_to_customer_and_key(customer: str, key: str, other: str, other_key: str) -> None:
    same = (customer, key) == (other, other_key)
    assert (order_id(customer, key) == order_id(other, other_key)) == same
    assert re.fullmatch("ord_[a-z2-7]{26}", order_id(customer, key))


def test_order_id_separates_customer_from_key() -> None:
    assert order_id("ann", "1:x") != order_id("ann1", ":x")
    assert order_id("1:a", "b") != order_id("1", "a:b")


def test_order_id_of_a_key_is_stable() -> None:
    assert order_id("ann", "sample-order-1") == "ord_ibazlc3eqvbfdeoiwt32n4tofu"


@given(lines)
def test_merging_keeps_every_quantity_and_has_a_product_once(requested: list[StockLine]) -> None:
    merged = merge(requested)
    assert len({line.sku for line in merged}) == len(merged)
    assert sum(line.quantity for line in merged) == sum(line.quantity for line in requested)
    assert [line.sku for line in merged] == list(dict.fromkeys(line.sku for line in requested))


def test_quantity_of_a_product_is_limited_to_999() -> None:
    assert merge([StockLine("MUG", 500), StockLine("TEA", 1), StockLine("MUG", 499)])[0].quantity == 999
    with pytest.raises(QuantityTooLarge, match="1000 units of MUG were requested; the limit is 999"):
        merge([StockLine("MUG", 500), StockLine("MUG", 500)])


@given(lines.filter(lambda requested: any(line.sku != "SAMPLE" for line in requested)))
def test_total_is_the_sum_of_the_lines(requested: list[StockLine]) -> None:
    priced, total = price(merge(requested), CATALOGUE)
    assert total.amount == sum(line.quantity * CATALOGUE[line.sku].unit_price.amount for line in requested)
    assert [(line.name, line.unit_price) for line in priced] == [(CATALOGUE[x.sku].name, CATALOGUE[x.sku].unit_price) for x in priced]


def test_unsold_products_are_named_in_request_order() -> None:
    with pytest.raises(UnknownProducts) as unknown:
        price([StockLine("RADIO", 1), StockLine("MUG", 1), StockLine("NOPE", 1)], CATALOGUE)
    assert unknown.value.skus == ("RADIO", "NOPE")


def test_order_that_costs_nothing_is_refused() -> None:
    with pytest.raises(NothingToPay, match=r"the order costs EUR 0\.00"):
        price([StockLine("SAMPLE", 3)], CATALOGUE)
    assert price([StockLine("SAMPLE", 3), StockLine("MUG", 1)], CATALOGUE)[1] == Money(1250, "EUR")


def test_order_in_two_currencies_is_refused() -> None:
    with pytest.raises(MixedCurrencies, match="EUR and USD"):
        price([StockLine("SHIRT", 1), StockLine("MUG", 1)], CATALOGUE)


@pytest.mark.parametrize(("amount", "currency"), [(10_050, "MGA"), (1_234, "KWD")])
def test_price_that_cannot_be_charged_in_parts_is_refused(amount: int, currency: str) -> None:
    """A provider can charge MGA 201.00 for two units, but not MGA 100.50 for one."""
    catalogue = {"VASE": Product("VASE", "Vase", Money(amount, currency))}
    with pytest.raises(NotChargeable, match=f"VASE at {currency}") as refused:
        price([StockLine("VASE", 2)], catalogue)
    assert refused.value.skus == ("VASE",)


@given(st.sampled_from(["EUR", "JPY", "KWD", "MGA"]), st.integers(1, 10_000), st.integers(1, 50))
def test_every_part_of_an_accepted_order_can_be_charged(currency: str, steps: int, quantity: int) -> None:
    product = Product("VASE", "Vase", Money(steps * charge_step(currency), currency))
    [line], total = price([StockLine("VASE", quantity)], {"VASE": product})
    assert not any(line.unit_price.times(part).amount % charge_step(currency) for part in range(quantity + 1))
    assert total.amount % charge_step(currency) == 0
