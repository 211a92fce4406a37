"""Lines of orders for products of the catalogue."""

from __future__ import annotations

from devtools.products import BY_SKU
from orderflow.domain.events import Line, TemperatureRange
from orderflow.domain.money import Money


def line(sku: str, quantity: int) -> Line:
    """Return an order line with the catalogue's name and price."""
    product = BY_SKU[sku]
    endures = TemperatureRange(*product.temperatures) if product.temperatures else None
    return Line(sku, product.name, quantity, Money(product.unit_price, product.currency), temperature_range=endures)
