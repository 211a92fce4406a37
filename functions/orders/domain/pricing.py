"""Prices and ids of orders: pure rules."""

from __future__ import annotations

import base64
import hashlib
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from orderflow.domain.events import Category, Line, Sku, StockLine, TemperatureRange
from orderflow.domain.money import Money, charge_step, format_money

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


MAX_QUANTITY = 999
MAX_PRICE = 10**11
# An order of 50 lines with such names, in any script, stays below the 256 KB that an event may have on the bus.
MAX_NAME_LENGTH = 300


class Product(Struct, frozen=True):
    """A product of the catalogue that events can contain."""

    sku: Sku
    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
    unit_price: Money
    active: bool = True
    category: Category | None = None
    temperature_range: TemperatureRange | None = None

    def __post_init__(self) -> None:
        """Check that the price can be charged and is exact as a JSON number, and that the range of temperatures is not empty."""
        if not 0 <= self.unit_price.amount <= MAX_PRICE:
            message = f"a price is 0 to {MAX_PRICE} minor units, not {self.unit_price.amount}"
            raise ValueError(message)
        endures = self.temperature_range
        if endures and endures.lowest > endures.highest:
            message = f"the lowest temperature, {endures.lowest}, is above the highest, {endures.highest}"
            raise ValueError(message)


class UnknownProducts(ValueError):
    """The catalogue does not offer these products."""

    def __init__(self, skus: Sequence[str]) -> None:
        """Create the error for these products, in the order of the request."""
        super().__init__(f"not in the catalogue: {', '.join(skus)}")
        self.skus = tuple(skus)


class MixedCurrencies(ValueError):
    """The products of one order are priced in more than one currency."""


class NotChargeable(ValueError):
    """Products have prices that no payment provider can charge or refund for a single unit."""

    def __init__(self, products: Sequence[Product]) -> None:
        """Create the error for these products; its message contains the multiple that prices must be of."""
        prices = ", ".join(f"{product.sku} at {format_money(product.unit_price)}" for product in products)
        currency = products[0].unit_price.currency
        super().__init__(f"{prices}: providers charge multiples of {format_money(Money(charge_step(currency), currency))}")
        self.skus = tuple(product.sku for product in products)


class NothingToPay(ValueError):
    """The order costs nothing, so there is no payment to authorize."""


class QuantityTooLarge(ValueError):
    """The lines of one product add up to more than the limit of a line."""


def order_id(customer_id: str, idempotency_key: str) -> str:
    """Return the id of the order that a customer places with an Idempotency-Key; the same key gives the same id."""
    return "ord_" + _identifier(customer_id, idempotency_key)


def return_id(order: str, idempotency_key: str) -> str:
    """Return the id of the return that is created for an order with an Idempotency-Key; the same key gives the same id."""
    return "ret_" + _identifier(order, idempotency_key)


def _identifier(owner: str, idempotency_key: str) -> str:
    """Return 128 bits of SHA-256 over owner and key; the owner's length in front keeps different pairs different."""
    digest = hashlib.sha256(f"{len(owner)}:{owner}:{idempotency_key}".encode()).digest()[:16]
    return base64.b32encode(digest).decode().rstrip("=").lower()


def merge(requested: Sequence[StockLine], most: int = MAX_QUANTITY) -> tuple[StockLine, ...]:
    """Return one line per product with the sum of its quantities, in the order of the first lines.

    Raises:
        QuantityTooLarge: the quantity of a product exceeds `most`.
    """
    quantities: dict[str, int] = {}
    for line in requested:
        quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
    for sku, quantity in quantities.items():
        if quantity > most:
            message = f"{quantity} units of {sku} were requested; the limit is {most}"
            raise QuantityTooLarge(message)
    return tuple(StockLine(sku, quantity) for sku, quantity in quantities.items())


def price(requested: Sequence[StockLine], catalogue: Mapping[str, Product]) -> tuple[tuple[Line, ...], Money]:
    """Return the priced lines and their total, in minor units of their one currency.

    `requested` has one line per product and at least one.

    Raises:
        UnknownProducts: the catalogue has no such product, or does not sell it any more.
        MixedCurrencies: the products are priced in several currencies.
        NothingToPay: the total is zero.
        NotChargeable: a price is not a multiple of the smallest amount that payment providers charge. Parcels and refunds are sums of
            prices, so they can be charged if every price can.
    """
    offered = {line.sku: catalogue.get(line.sku) for line in requested}
    unknown = [sku for sku, product in offered.items() if product is None or not product.active]
    if unknown:
        raise UnknownProducts(unknown)
    products = {sku: product for sku, product in offered.items() if product}
    currencies = sorted({product.unit_price.currency for product in products.values()})
    if len(currencies) > 1:
        message = f"one order has one currency, not {' and '.join(currencies)}"
        raise MixedCurrencies(message)
    odd = [product for product in products.values() if product.unit_price.amount % charge_step(product.unit_price.currency)]
    if odd:
        raise NotChargeable(odd)
    lines = tuple(_line(products[line.sku], line.quantity) for line in requested)
    total = reduce(add, (line.unit_price.times(line.quantity) for line in lines))
    if total.amount <= 0:
        message = f"the order costs {format_money(total)}; add a product that costs something"
        raise NothingToPay(message)
    return lines, total


def _line(product: Product, quantity: int) -> Line:
    return Line(product.sku, product.name, quantity, product.unit_price, product.category, product.temperature_range)
