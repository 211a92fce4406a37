"""Totals of sales for tests of analytics: aggregate events, and read what the store has."""

from __future__ import annotations

from typing import Any

from analytics.domain import counting_rules
from analytics.handlers import aggregate, count_events
from analytics.items import ProductRange
from analytics.store import AnalyticsStore
from orderflow.domain.events import Event
from tests.fakes.aws.environment import Aws
from tests.support.runtime import CONTEXT
from tests.support.sales import streamed

PARENTS = {"top"}


def store(aws: Aws) -> AnalyticsStore:
    return AnalyticsStore("AnalyticsSums", aws.dynamodb.client)


def sums(aws: Aws) -> dict[str, Any]:
    """Return all totals, units and leaderboards by place, after checking that no count is pending."""
    assert store(aws).pending(1) == []
    assert store(aws).last_batch().pages == ()
    found: dict[str, Any] = {}
    for item in aws.dynamodb.items("AnalyticsSums"):
        place = item["place"]["S"]
        if item["period"]["S"] == "board":
            period, _, category = place.partition("/")
            found[place] = store(aws).leaderboard(period, category)
        elif item["period"]["S"] in PARENTS or len(item["period"]["S"]) in {counting_rules.HOUR, counting_rules.MONTH}:
            found[place] = store(aws).total(place).counters
    return found | units(aws)


def ranges(aws: Aws, period: str) -> list[ProductRange]:
    """Return the product ranges, after checking that each ends where the next one begins."""
    some = list(store(aws).ranges(period))
    assert [one.end for one in some] == [*(one.first for one in some[1:]), None][: len(some)]
    assert not some or some[0].first == ""
    return some


def units(aws: Aws) -> dict[str, Any]:
    """Return the units of products by period."""
    periods = {item["period"]["S"] for item in aws.dynamodb.items("AnalyticsSums") if item["period"]["S"].startswith("products/")}
    return {one: {sku: sold for part in ranges(aws, one.removeprefix("products/")) for sku, sold in part.units.items()} for one in periods}


def aggregated(*batches: list[Event]) -> dict[str, Any]:
    """Aggregate the batches one by one and return all totals."""
    aws = Aws()
    aws.lend()
    for batch in filter(None, batches):
        assert count_events.handler(streamed(*batch), CONTEXT) == {"batchItemFailures": []}
        aggregate.handler({}, CONTEXT)
    return sums(aws)
