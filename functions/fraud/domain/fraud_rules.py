"""The fraud rules: points for what is unusual about an order, and what the sum of them means.

| reason | points by default | when |
|---|---|---|
| `amount_large` | 50 | the total reaches `large`, 1,000 US dollars or about as much in its currency |
| `amount_very_large` | 80 | the total reaches `very_large`, 5,000 US dollars or about as much (instead of `amount_large`) |
| `velocity` | 40 | the customer placed `orders` or more within `window_seconds` before this order |
| `country_mismatch` | 30 | the order goes to another country than the means of payment is from |
| `new_customer` | 10 | no earlier order of the customer is known |

From `hold_score` on a person decides, from `refuse_score` on the order is refused. By default no rule
reaches `refuse_score` alone: it takes a very large amount, another country and velocity together.

Two feature flags have a person decide whatever the score is; their names are reasons without points:

| reason | when |
|---|---|
| `hold_every_order` | it is on |
| `hold_countries` | the order goes to one of them |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, cast

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


class InvalidFraudRules(ValueError):
    """The configuration of the fraud rules is not usable."""


class AmountLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """The totals from which an order in one currency is unusual, in its minor units; one that is left out follows `other_amounts`."""

    large: Positive | None = None
    very_large: Positive | None = None


class ValueLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """The totals from which an order in any other currency is unusual: what is worth so many US cents."""

    large: Positive = 100_000
    very_large: Positive = 500_000

    def __post_init__(self) -> None:
        """Hold the limits in their order."""
        _require_ordered("large", self.large, "very_large", self.very_large)


class Velocity(Struct, frozen=True, forbid_unknown_fields=True):
    """How many orders of one customer before this one, within which time, are too many."""

    orders: Annotated[int, Meta(ge=1, le=1_000)] = 5
    window_seconds: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 3600


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """How many points each rule adds."""

    amount_large: Points = 50
    amount_very_large: Points = 80
    velocity: Points = 40
    country_mismatch: Points = 30
    new_customer: Points = 10


class Thresholds(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration; what is left out keeps its default.

    `amounts` has the limits of single currencies in their minor units. Every other currency has the limits of
    `other_amounts`, converted by its rough value (`orderflow.domain.money.worth`).
    """

    hold_score: Positive = 50
    refuse_score: Positive = 130
    amounts: dict[Currency, AmountLimits] = {}
    other_amounts: ValueLimits = ValueLimits()
    velocity: Velocity = Velocity()
    weights: Weights = Weights()

    def __post_init__(self) -> None:
        """Hold the scores, and the limits of each currency, in their order."""
        _require_ordered("hold_score", self.hold_score, "refuse_score", self.refuse_score)
        for currency in self.amounts:
            large, very_large = self.limits(currency)
            _require_ordered("large", large, "very_large", very_large)

    def limits(self, currency: Currency) -> tuple[int, int]:
        """Return from which totals an order is large and very large, in minor units of its currency."""
        own = self.amounts.get(currency, AmountLimits())
        large, very_large = worth(self.other_amounts.large, currency), worth(self.other_amounts.very_large, currency)
        return own.large or large, own.very_large or very_large


class FraudFlags(Struct, frozen=True):
    """What of the feature flags is this context's; what is left out of a document is as the stack's parameters say."""

    hold_every_order: bool = False
    hold_countries: frozenset[Country] = frozenset()
    fraud: Thresholds = msgspec.field(default_factory=Thresholds)


class ScreeningInput(Struct, frozen=True):
    """What the rules look at. `preceding` are the times of the customer's orders before this one."""

    total: Money
    shipping_country: Country
    payment_country: Country
    placed_at: datetime
    preceding: Sequence[datetime]


def parse_thresholds(document: str) -> Thresholds:
    """Read the configuration from JSON.

    Raises:
        InvalidFraudRules: it is not JSON, has an unknown field, or a value that makes no sense.
    """
    try:
        return msgspec.json.decode(document, type=Thresholds)
    except msgspec.DecodeError as error:
        message = f"the fraud rules are not usable: {error}"
        raise InvalidFraudRules(message) from None


def parse_flags(document: bytes, fraud: str = "{}") -> FraudFlags:
    """Read the flags from JSON; thresholds that they leave out are those of `fraud`, the stack's rules as JSON.

    Raises:
        msgspec.DecodeError: it is not JSON, or one of them has a value that makes no sense.
    """
    flags = msgspec.json.decode(document, type=dict[str, Any])
    thresholds = _merged(msgspec.json.decode(fraud), flags.get("fraud", {}))
    return msgspec.convert(flags | {"fraud": thresholds}, FraudFlags)


def _merged(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    kept, changed = cast("dict[str, Any]", below), cast("dict[str, Any]", above)
    return kept | {name: _merged(kept.get(name), value) for name, value in changed.items()}


def score_order(facts: ScreeningInput, flags: FraudFlags) -> Screening:
    """Score an order; the reasons are the names of the rules that added points, and of the flags that hold it."""
    thresholds = flags.fraud
    hits, holds = tuple(_scored_reasons(facts, thresholds)), tuple(_hold_reasons(facts, flags))
    score = sum(getattr(thresholds.weights, reason) for reason in hits)
    if holds:
        return Screening("hold", score, hits + holds)
    if score >= thresholds.refuse_score:
        return Screening("refuse", score, hits)
    return Screening("hold" if score >= thresholds.hold_score else "approve", score, hits)


def _hold_reasons(facts: ScreeningInput, flags: FraudFlags) -> Iterator[str]:
    if flags.hold_every_order:
        yield "hold_every_order"
    if facts.shipping_country in flags.hold_countries:
        yield "hold_countries"


def _scored_reasons(facts: ScreeningInput, thresholds: Thresholds) -> Iterator[str]:
    large, very_large = thresholds.limits(facts.total.currency)
    if facts.total.amount >= large:
        yield "amount_very_large" if facts.total.amount >= very_large else "amount_large"
    if _orders_in_window(facts, thresholds.velocity) >= thresholds.velocity.orders:
        yield "velocity"
    if facts.shipping_country != facts.payment_country:
        yield "country_mismatch"
    if not facts.preceding:
        yield "new_customer"


def _orders_in_window(facts: ScreeningInput, velocity: Velocity) -> int:
    start = facts.placed_at - timedelta(seconds=velocity.window_seconds)
    return sum(start <= moment <= facts.placed_at for moment in facts.preceding)
