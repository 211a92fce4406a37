"""Staff read sales by minute and day, and the best sellers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from analytics import api_models
from analytics.handlers import aggregate, count_events, get_leaderboard, get_sales
from tests.fakes.aws.environment import Aws
from tests.support import samples
from tests.support.runtime import CONTEXT
from tests.support.sales import BEGIN, confirmed, event, placed, refunded, rejected, short, streamed


def get_as_staff(module: Any, context: Any, **query: str) -> Any:
    """Return the answer that staff get."""
    request = samples.sample(samples.names(module.__name__.replace(".handlers.", "/"))[0])
    request["requestContext"]["authorizer"]["groups"] = api_models.STAFF_GROUP
    answer = module.handler({**request, "queryStringParameters": query}, context)
    assert answer["statusCode"] == 200, answer
    return json.loads(answer["body"])


def test_leaderboard_has_all_time_day_and_category(aws: Aws, context: Any) -> None:
    sold = {f"{category}-{number:03}": 300 - number for category in ("CUPS", "TEAS") for number in range(120)}
    days = {"2026-01-31": sold, "2026-02-01": {sku: 1000 - units for sku, units in sold.items()}}
    for number, units in enumerate(days.values()):
        for part in range(0, 240, 40):
            ordered = confirmed(dict(list(units.items())[part : part + 40]))
            count_events.handler(streamed(event(1000 * number + part, ordered, 86_400 * number)), context)
    aggregate.handler({}, context)

    def best(**query: str) -> list[tuple[str, int]]:
        return [(one["sku"], one["units"]) for one in get_as_staff(get_leaderboard, context, limit="100", **query)["products"]]

    every = {sku: days["2026-01-31"][sku] + days["2026-02-01"][sku] for sku in sold}
    for period, units in {"": every, **days}.items():
        for category in ("", "cups", "teas"):
            wanted = sorted((one for one in units.items() if one[0].lower().startswith(category)), key=lambda one: (-one[1], one[0]))
            query = {name: value for name, value in {"day": period, "category": category}.items() if value}
            assert best(**query) == wanted[:100]


def test_sales_of_a_minute_and_a_day_have_all_counters(aws: Aws, context: Any) -> None:
    happened = [placed(), placed(), placed(), confirmed({"MUG": 3}), confirmed({"TEA": 2}, "JPY"), short(), rejected("out_of_stock")]
    batch = [event(number, data, number) for number, data in enumerate([*happened, refunded(100), refunded(7, "JPY")])]
    late = [event(100, placed(), -60), event(101, rejected("fraud_refused"), 180)]
    for delivered in (batch[::-1], late, batch):
        count_events.handler(streamed(*delivered), context)
        aggregate.handler({}, context)
    minute_sales = {
        "orders": 3,
        "outcomes": [
            {"outcome": "confirmed", "orders": 2, "basis_points": 6666},
            {"outcome": "out_of_stock", "orders": 1, "basis_points": 3333},
        ],
        "revenue": [{"amount": 300, "currency": "EUR"}, {"amount": 200, "currency": "JPY"}],
        "refunds": [{"amount": 100, "currency": "EUR"}, {"amount": 7, "currency": "JPY"}],
        "stock_outs": 1,
        "cancelled_later": 0,
    }

    minutes = get_as_staff(get_sales, context, per="minute", **{"from": "2026-01-31T23:58", "to": "2026-02-01T00:01"})["sales"]
    days = get_as_staff(get_sales, context, **{"from": "2026-01-31", "to": "2026-02-01"})["sales"]

    assert minutes[0] == {"period": "2026-01-31T23:58", **minute_sales}
    assert [one["period"] for one in minutes] == ["2026-01-31T23:58", "2026-02-01T00:01"]
    assert days[0] == {"period": "2026-01-31", **minute_sales, "orders": 4}
    assert [one["outcome"] for one in days[1]["outcomes"]] == ["fraud_refused"]


@pytest.mark.parametrize("module", [get_sales, get_leaderboard])
def test_samples_of_requests_have_their_answers(module: Any, aws: Aws, context: Any) -> None:
    count_events.handler(samples.sample("analytics/count_events/life"), context)
    aggregate.handler(samples.sample("analytics/aggregate/schedule"), CONTEXT)
    for name in samples.names(module.__name__.replace(".handlers.", "/")):
        answer = module.handler(samples.sample(name), context)
        assert samples.agrees({**answer, "body": json.loads(answer["body"])}, samples.expected(name)), name


def request(**query: str) -> Any:
    return {"queryStringParameters": query or None}


def test_period_range_defaults_to_the_latest_periods() -> None:
    now = datetime(2026, 3, 1, 0, 10, 59, tzinfo=UTC)
    days, minutes = api_models.period_range(request(), now), api_models.period_range(request(per="minute"), now)
    assert (days.first, days.last, days.parent_periods) == ("2026-01-31", "2026-03-01", ["2026-01", "2026-02", "2026-03"])
    assert (minutes.first, minutes.last) == ("2026-02-28T23:11", "2026-03-01T00:10")
    assert minutes.parent_periods == ["2026-02-28T23", "2026-03-01T00"]


@pytest.mark.parametrize(
    "query",
    [
        {"per": "hour"},
        {"from": "2026-1-01"},
        {"from": "2026-02-30"},
        {"to": "tomorrow"},
        {"from": "2026-02-02", "to": "2026-02-01"},
        {"from": "2024-01-01", "to": "2026-01-01"},
        {"to": "0001-01-01"},
        {"to": "1000-01-05"},
        {"to": "9999-12-31"},
        {"from": "9999-12-31", "to": "9999-12-31"},
        {"per": "minute", "to": "9999-12-31T23:59"},
        {"per": "minute", "to": "1000-01-01T00:00"},
        {"per": "minute", "from": "2026-01-01"},
        {"per": "minute", "from": "2026-01-01T00:00", "to": "2026-01-02T00:00"},
    ],
)
def test_invalid_time_range_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(api_models.Problem) as refused:
        api_models.period_range(request(**query), BEGIN)
    assert refused.value.document["field"] in query


@pytest.mark.parametrize("query", [{"day": "2026-02-30"}, {"category": "A b"}, {"limit": "0"}, {"limit": "101"}, {"limit": "x"}])
def test_invalid_leaderboard_request_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(api_models.Problem) as refused:
        api_models.leaderboard_query(request(**query))
    assert refused.value.document["field"] in query
