"""Value types that events, commands and the order share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from orderflow.domain.money import Money

# In Python `$` also matches before a trailing line break; in other languages it does not.
Sku = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$(?!\n)")]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)", description="ISO 3166-1 alpha-2 code")]
Category = Annotated[
    str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$(?!\n)", description="What kind of product it is")
]
Quantity = Annotated[int, Meta(ge=1, le=999)]
Temperature = Annotated[int, Meta(ge=-1000, le=1000, description="In tenths of a degree Celsius")]
Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339, in UTC")]


class Customer(Struct, frozen=True):
    """The customer: the subject of the token, and the email address."""

    id: str
    email: str


class CustomerId(Struct, frozen=True):
    """The customer's id, in events that need no address."""

    id: str


class Address(Struct, frozen=True, omit_defaults=True):
    """A postal address; the country decides what the other parts mean.

    `postal_code` is empty where the country has none, `street2` and `region` (state or province) where there is none.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    street: Annotated[str, Meta(min_length=1, max_length=200)]
    city: Annotated[str, Meta(min_length=1, max_length=100)]
    postal_code: Annotated[str, Meta(max_length=20)]
    country: Country
    street2: Annotated[str, Meta(max_length=200)] = ""
    region: Annotated[str, Meta(max_length=100)] = ""


class Position(Struct, frozen=True):
    """A position on the earth, in degrees."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]


class TemperatureRange(Struct, frozen=True):
    """The temperatures that goods endure in transit, both included, in tenths of a degree Celsius."""

    lowest: Temperature
    highest: Temperature

    def __contains__(self, temperature: int) -> bool:
        """Return whether goods endure this temperature."""
        return self.lowest <= temperature <= self.highest


class Line(Struct, frozen=True, omit_defaults=True):
    """One product of an order with the price that the catalogue had when it was placed.

    Category and temperature range are left out where the product has none.
    """

    sku: Sku
    name: str
    quantity: Quantity
    unit_price: Money
    category: Category | None = None
    temperature_range: TemperatureRange | None = None


class StockLine(Struct, frozen=True):
    """A quantity of one product."""

    sku: Sku
    quantity: Quantity


def drop_email(data: dict[str, Any]) -> dict[str, Any]:
    """Return event data, as JSON types, whose customer has an id only. Upcasts events that no longer carry the email address."""
    return {**data, "customer": {"id": msgspec.convert(data["customer"], Customer).id}}
