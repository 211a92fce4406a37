"""Lines of orders for products of the catalogue."""

from __future__ import annotations

from devtools.products import BY_SKU
from orderflow.domain.events import Line
from orderflow.domain.money import Money


def line(sku: str, quantity: int) -> Line:
    """Return an order line with the catalogue's name and price."""
    product = BY_SKU[sku]
    return Line(sku, product.name, quantity, Money(product.unit_price, product.currency))
