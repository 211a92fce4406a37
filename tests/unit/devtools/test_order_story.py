"""One order's story from a stack on AWS: the saved query, and links into X-Ray."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from devtools.cli import UserError
from devtools.ops import order_story
from devtools.target import AWS, Target

TRACE = "1-6b017a95-b3a90b35c44edb8c38275eaa"
ORDER_ID = "ord_" + "a" * 26


class FakeInsights:
    """Logs Insights, whose query is complete at the second request."""

    meta = SimpleNamespace(region_name="eu-central-1")

    def __init__(self, *rows: dict[str, str], end: str = "Complete") -> None:
        self.rows = rows
        self.statuses = ["Running", end]
        self.query: dict[str, Any] = {}

    def start_query(self, **asked: Any) -> dict[str, str]:
        self.query = asked
        return {"queryId": "q"}

    def get_query_results(self, queryId: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        assert queryId == "q"
        results = [[{"field": name, "value": value} for name, value in row.items()] for row in self.rows]
        return {"status": self.statuses.pop(0), "results": results}


def row(at: str, function: str, message: str) -> dict[str, str]:
    stream = f"2026/01/15/order-pipeline-prod-{function}[3]0123456789abcdef"
    return {"@timestamp": at, "@logStream": stream, "@message": message, "@ptr": at}


def stack(insights: FakeInsights) -> Target:
    return Target(AWS, "", managed=False, stack="order-pipeline-prod", _clients={"logs": insights})


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_story, "_POLL_SECONDS", 0)


def test_lines_are_those_of_the_saved_query_oldest_first() -> None:
    insights = FakeInsights(
        row("2026-01-15 10:00:02.000", "payments-authorize", '{"message": "invocation_completed"}'),
        row("2026-01-15 10:00:00.500", "orders-place", f'{{"order_id": "{ORDER_ID}", "xray_trace_id": "{TRACE}"}}'),
    )
    lines = order_story.read(stack(insights), ORDER_ID, 1_768_471_200_000)
    assert [(line.function, line.time) for line in lines] == [
        ("orders-place", 1_768_471_200_500),
        ("payments-authorize", 1_768_471_202_000),
    ]
    assert insights.query["queryString"] == order_story.QUERY.text.replace("ord_REPLACE", ORDER_ID)
    assert "/aws/lambda/order-pipeline-prod-orders" in insights.query["logGroupNames"]
    assert insights.query["startTime"] == 1_768_471_200


def test_each_trace_has_one_link_into_x_ray() -> None:
    insights = FakeInsights(
        *(row(f"2026-01-15 10:00:0{number}.000", "orders-place", f'{{"xray_trace_id": "{TRACE}"}}') for number in range(2))
    )
    target = stack(insights)
    assert order_story.trace_links(target, order_story.read(target, ORDER_ID, 0)) == [
        f"https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#xray:traces/{TRACE}"
    ]


def test_failed_query_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^the query of the order's log lines is Failed; repeat it"):
        order_story.read(stack(FakeInsights(end="Failed")), ORDER_ID, 0)
