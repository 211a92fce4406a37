"""API models of analytics, their query parameters, and the check for staff."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from analytics.domain import counting_rules
from analytics.domain.counting_rules import Rank
from orderflow.aws import paging
from orderflow.aws.http import ApiEvent, Problem, caller
from orderflow.domain.money import Money

if TYPE_CHECKING:
    from analytics.items import Total

STAFF_GROUP = "staff"
LEADERBOARD_LIMIT = 10

type Per = Literal["minute", "day"]

_FORMATS: dict[Per, str] = {"minute": "%Y-%m-%dT%H:%M", "day": "%Y-%m-%d"}
_STEPS: dict[Per, timedelta] = {"minute": timedelta(minutes=1), "day": timedelta(days=1)}
# The most periods per request, and the default.
_MAX_PERIODS: dict[Per, int] = {"minute": 24 * 60, "day": 366}
_DEFAULT_PERIODS: dict[Per, int] = {"minute": 60, "day": 30}
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
_CATEGORY = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class PeriodRange(Struct, frozen=True):
    """The requested periods by name, both ends included."""

    per: Per
    first: str
    last: str

    @property
    def parent_periods(self) -> list[str]:
        """The hours of these minutes, or the months of these days."""
        found = dict[str, None]()
        moment, last = (datetime.strptime(name, _FORMATS[self.per]).replace(tzinfo=UTC) for name in (self.first, self.last))
        while moment <= last:
            found[counting_rules.parent(moment.strftime(_FORMATS[self.per]))] = None
            moment += _STEPS[self.per]
        return list(found)


class Outcome(Struct, frozen=True):
    """The number of orders with an outcome, and their part of all outcomes of the period in basis points."""

    outcome: str
    orders: int
    basis_points: int


class Sales(Struct, frozen=True):
    """The sales of a minute or day (UTC); `revenue` is of orders confirmed in it, including orders cancelled later.

    `outcomes` counts each order once, by its first outcome; `cancelled_later` counts orders cancelled after their confirmation.
    """

    period: str
    orders: int
    outcomes: tuple[Outcome, ...]
    revenue: tuple[Money, ...]
    refunds: tuple[Money, ...]
    stock_outs: int
    cancelled_later: int


class SalesAnswer(Struct, frozen=True):
    """The periods with sales, oldest first."""

    per: Literal["minute", "day"]
    sales: tuple[Sales, ...]


class LeaderboardAnswer(Struct, frozen=True, omit_defaults=True):
    """The best sellers by units of confirmed orders: of a day (UTC) or of all times; of a category or of all."""

    products: tuple[Rank, ...]
    day: str | None = None
    category: str | None = None


def require_staff(event: ApiEvent) -> None:
    """Allow members of the staff only.

    Raises:
        Problem: 401 for an unauthenticated caller, 403 for a caller who is not in the group `staff`.
    """
    if STAFF_GROUP not in caller(event).groups:
        raise Problem(403, "forbidden", "Forbidden", f"only members of the group {STAFF_GROUP} may do this")


def period_range(event: ApiEvent, now: datetime) -> PeriodRange:
    """Return the requested periods; by default the latest ones.

    Raises:
        Problem: 400 for a `per` other than minute or day, malformed ends, or too many periods.
    """
    asked = event.get("queryStringParameters") or {}
    per = asked.get("per", "day")
    if per != "day" and per != "minute":  # noqa: PLR1714 - the type checker follows this
        raise paging.invalid_parameter("per", "minute or day")
    step = _STEPS[per]
    last = _moment(asked, "to", per) or now
    first = _moment(asked, "from", per) or last - (_DEFAULT_PERIODS[per] - 1) * step
    if not timedelta(0) <= last - first < _MAX_PERIODS[per] * step:
        raise paging.invalid_parameter("from", f"not after `to`, and for {_MAX_PERIODS[per]} of them at most")
    return PeriodRange(per, first.strftime(_FORMATS[per]), last.strftime(_FORMATS[per]))


def leaderboard_query(event: ApiEvent) -> tuple[str, str, int]:
    """Return the requested period, category (empty for all) and number of products.

    Raises:
        Problem: 400 for a malformed day or category, or a limit outside 1 to 100.
    """
    asked = event.get("queryStringParameters") or {}
    day = _moment(asked, "day", "day")
    category = asked.get("category", "")
    if category and not _CATEGORY.fullmatch(category):
        raise paging.invalid_parameter("category", "lower-case a to z, digits and hyphens, 64 at most")
    limit = paging.parse_limit(event, LEADERBOARD_LIMIT, counting_rules.LEADERBOARD_SIZE)
    return day.strftime(_FORMATS["day"]) if day else counting_rules.ALL, category, limit


def sales_of(one: Total) -> Sales:
    """Return a period's total as an API model."""
    outcomes = counting_rules.below(one.counters, "outcome")
    decided = sum(outcomes.values())
    return Sales(
        period=one.period,
        orders=one.counters.get("orders", 0),
        outcomes=tuple(Outcome(name, orders, orders * 10_000 // decided) for name, orders in sorted(outcomes.items())),
        revenue=_money(one, "revenue"),
        refunds=_money(one, "refunds"),
        stock_outs=one.counters.get("stock_outs", 0),
        cancelled_later=one.counters.get("cancelled_later", 0),
    )


def _money(one: Total, name: str) -> tuple[Money, ...]:
    return tuple(Money(amount, currency) for currency, amount in sorted(counting_rules.below(one.counters, name).items()))


def _moment(asked: Mapping[str, str], name: str, per: Per) -> datetime | None:
    if name not in asked:
        return None
    text, form = asked[name], _FORMATS[per]
    try:
        moment = datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        moment = None
    # strptime accepts one-digit months; the first and last years of the calendar have no period before or after.
    if moment is None or moment.strftime(form) != text or not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise paging.invalid_parameter(name, "2026-11-21" if per == "day" else "2026-11-21T12:46, in UTC")
    return moment
