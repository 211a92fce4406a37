"""`make sales` invokes the functions of `/analytics/…` as API Gateway does for a member of staff."""

import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from analytics.api_models import STAFF_GROUP
from devtools.cli import UserError
from devtools.ops import sales_report
from devtools.target import Target
from orderflow.aws.http import ApiEvent, caller


class Stack:
    """A target whose functions answer with a status and a document; it records their events."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self._answer = {"statusCode": status, "body": json.dumps(document)}

    def invoke(self, function: str, event: dict[str, Any], *, seconds: float = 0) -> dict[str, Any]:
        del seconds
        self.events[function] = event
        return self._answer


def test_functions_are_invoked_for_a_member_of_staff() -> None:
    stack = Stack(200, {"sales": [{"orders": 2}]})
    assert sales_report.sales(cast("Target", stack), per="day") == [{"orders": 2}]
    event = stack.events["AnalyticsSales"]
    assert caller(cast("ApiEvent", event)).groups == {STAFF_GROUP}
    assert (event["resource"], event["queryStringParameters"]) == ("/analytics/sales", {"per": "day"})


def test_counts_are_aggregated_before_the_report() -> None:
    stack = Stack(200, {"sales": []})
    assert sales_report.aggregated(cast("Target", stack), datetime(2026, 1, 5, 10, 30, 59, tzinfo=UTC)) == []
    assert list(stack.events) == ["AnalyticsAggregate", "AnalyticsSales"]
    assert stack.events["AnalyticsSales"]["queryStringParameters"] == {"per": "minute", "from": "2026-01-05T10:30"}


def test_rejected_report_is_one_line() -> None:
    stack = Stack(400, {"title": "Parameter invalid"})
    with pytest.raises(UserError, match="GET /analytics/leaderboard answered 400"):
        sales_report.best_sellers(cast("Target", stack), 0)
