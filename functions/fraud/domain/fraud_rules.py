"""The fraud rules: unusual properties of an order add points, and their sum decides.

| reason | points by default | when |
|---|---|---|
| `amount_large` | 50 | the total reaches `large`: 1,000 US dollars or the rough equivalent in its currency |
| `amount_very_large` | 80 | the total reaches `very_large`: 5,000 US dollars or the rough equivalent (replaces `amount_large`) |
| `velocity` | 40 | the customer placed `orders` or more within `window_seconds` before this order |
| `country_mismatch` | 30 | the shipping country differs from the country of payment, which the client states |
| `new_customer` | 10 | the customer has no earlier order in the history |

An order is held for review from `hold_score` and refused from `refuse_score`. By default no single rule
reaches `refuse_score`: a very large amount, another country and velocity do so together.

`country_mismatch` does not check the card, which is first used at the authorization. The provider's rules check it (decision 64).

Two feature flags hold an order of any score; their names are reasons without points:

| reason | when |
|---|---|
| `hold_every_order` | the flag is on |
| `hold_countries` | the shipping country is in the list |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from orderflow.domain.events import Country
from orderflow.domain.money import Currency, Money, worth
from orderflow.domain.order import Screening

Points = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]


def _require_ordered(lower: str, low: int, upper: str, high: int) -> None:
    if low > high:
        message = f"`{lower}` ({low}) must not be above `{upper}` ({high})"
        raise ValueError(message)


class AmountLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """The totals from which an order in one currency is unusual, in minor units. A missing limit follows `other_amounts`."""

    large: Positive | None = None
    very_large: Positive | None = None


class ValueLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """The totals from which an order in any other currency is unusual, in US cents."""

    large: Positive = 100_000
    very_large: Positive = 500_000

    def __post_init__(self) -> None:
        """Raise ValueError if `large` is above `very_large`."""
        _require_ordered("large", self.large, "very_large", self.very_large)


class Velocity(Struct, frozen=True, forbid_unknown_fields=True):
    """How many earlier orders of a customer within the window add the points of `velocity`."""

    orders: Annotated[int, Meta(ge=1, le=1_000)] = 5
    window_seconds: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 3600


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """The points of each rule."""

    amount_large: Points = 50
    amount_very_large: Points = 80
    velocity: Points = 40
    country_mismatch: Points = 30
    new_customer: Points = 10


class Thresholds(Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration of the rules; a missing field keeps its default.

    `amounts` has the limits of single currencies in minor units. For every other currency the limits in
    `other_amounts` are converted by a rough rate (`orderflow.domain.money.worth`).
    """

    hold_score: Positive = 50
    refuse_score: Positive = 130
    amounts: dict[Currency, AmountLimits] = {}
    other_amounts: ValueLimits = ValueLimits()
    velocity: Velocity = Velocity()
    weights: Weights = Weights()

    def __post_init__(self) -> None:
        """Raise ValueError if a lower limit is above its upper limit."""
        _require_ordered("hold_score", self.hold_score, "refuse_score", self.refuse_score)
        for currency in self.amounts:
            large, very_large = self.limits(currency)
            _require_ordered("large", large, "very_large", very_large)

    def limits(self, currency: Currency) -> tuple[int, int]:
        """Return the totals from which an order is large and very large, in minor units of the currency."""
        own = self.amounts.get(currency, AmountLimits())
        large, very_large = worth(self.other_amounts.large, currency), worth(self.other_amounts.very_large, currency)
        return own.large or large, own.very_large or very_large


class FraudFlags(Struct, frozen=True):
    """The feature flags of the fraud context; a missing flag keeps the value of the stack's parameters."""

    hold_every_order: bool = False
    hold_countries: frozenset[Country] = frozenset()
    fraud: Thresholds = msgspec.field(default_factory=Thresholds)


class ScreeningInput(Struct, frozen=True):
    """The input of the rules. `preceding` lists when the customer placed earlier orders."""

    total: Money
    shipping_country: Country
    payment_country: Country
    placed_at: datetime
    preceding: Sequence[datetime]


def parse_flags(document: bytes) -> FraudFlags:
    """Read the flags from JSON; a threshold that they leave out has its default.

    Raises:
        msgspec.DecodeError: it is not JSON, a flag has an invalid value, or the thresholds an unknown field.
    """
    return msgspec.json.decode(document, type=FraudFlags)


def score_order(order: ScreeningInput, flags: FraudFlags, *, reviewed: bool = True) -> Screening:
    """Score an order. The reasons name the rules that added points and the flags that hold the order.

    Without reviews (`reviewed`) no reviewer decides on a held order, so an order that would be held is refused.
    """
    hold = "hold" if reviewed else "refuse"
    thresholds = flags.fraud
    reasons, holds = tuple(_scored_reasons(order, thresholds)), tuple(_hold_reasons(order, flags))
    score = sum(getattr(thresholds.weights, reason) for reason in reasons)
    if holds:
        return Screening(hold, score, reasons + holds)
    if score >= thresholds.refuse_score:
        return Screening("refuse", score, reasons)
    return Screening(hold if score >= thresholds.hold_score else "approve", score, reasons)


def _hold_reasons(order: ScreeningInput, flags: FraudFlags) -> Iterator[str]:
    if flags.hold_every_order:
        yield "hold_every_order"
    if order.shipping_country in flags.hold_countries:
        yield "hold_countries"


def _scored_reasons(order: ScreeningInput, thresholds: Thresholds) -> Iterator[str]:
    large, very_large = thresholds.limits(order.total.currency)
    if order.total.amount >= large:
        yield "amount_very_large" if order.total.amount >= very_large else "amount_large"
    if _orders_in_window(order, thresholds.velocity) >= thresholds.velocity.orders:
        yield "velocity"
    if order.shipping_country != order.payment_country:
        yield "country_mismatch"
    if not order.preceding:
        yield "new_customer"


def _orders_in_window(order: ScreeningInput, velocity: Velocity) -> int:
    start = order.placed_at - timedelta(seconds=velocity.window_seconds)
    return sum(start <= moment <= order.placed_at for moment in order.preceding)
