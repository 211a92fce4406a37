"""The four dashboards, which CloudWatch and the local page render from one description."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from devtools.dashboard import boards
from devtools.dashboard.boards import BoardReading, CloudWatchBoards, LocalBoards
from devtools.monitoring import alarms, dashboard_widgets, dashboards
from devtools.monitoring.dashboards import BOARDS
from devtools.target import StackResource, Target
from orderflow.domain import metrics
from orderflow.domain.metrics import Measurement, embedded

NOW = datetime(2026, 1, 15, 10, 0, 30, tzinfo=UTC)
AT = int(NOW.timestamp())


@dataclass
class FakeLogs:
    """The log of one function, which counts how often it is read."""

    lines: list[str] = field(default_factory=list[str])
    reads: int = 0

    def get_paginator(self, _name: str) -> FakeLogs:
        return self

    def paginate(self, **_asked: Any) -> list[dict[str, Any]]:
        self.reads += 1
        return [{"events": [{"message": line, "timestamp": AT * 1000, "eventId": str(number)} for number, line in enumerate(self.lines)]}]


class FakeLambda:
    """Lists one function."""

    def get_paginator(self, _name: str) -> FakeLambda:
        return self

    def paginate(self) -> list[dict[str, Any]]:
        return [{"Functions": [{"FunctionName": "order-pipeline-orders-place"}]}]


def target(**clients: Any) -> Target:
    found = Target("embedded", "http://127.0.0.1:4566", managed=False, _clients=clients)
    place = StackResource("AWS::Lambda::Function", "order-pipeline-orders-place")
    found.__dict__["stack_resources"] = {"OrdersPlace": place}
    found.__dict__["resources"] = {"ApiStage": "prod", "OrderLog": "table-of-events"}
    return found


def printed(*measurements: Measurement) -> list[str]:
    return [json.dumps(one) for one in embedded("OrderPipeline/order-pipeline", "orders", measurements, AT * 1000)]


def values(read: tuple[BoardReading, ...]) -> dict[tuple[str, str], tuple[float, ...]]:
    return {(chart.title, line.label): line.values for board in read for chart in board.charts for line in chart.lines}


class TestLocal:
    def test_chart_lines_come_from_the_metrics_that_functions_print(self) -> None:
        decided = [Measurement(metrics.ORDER_DECISION_SECONDS, seconds, (("outcome", "confirmed"),)) for seconds in (2, 4, 40)]
        logs = FakeLogs(
            [
                *printed(Measurement(metrics.ORDERS_PLACED, 1), *decided),
                "REPORT RequestId: 1\tDuration: 12.50 ms\tBilled Duration: 13 ms",
                '{"level":"ERROR","message":"invocation_failed"}',
                "a line without metrics",
                '{"_aws" is no JSON',
            ]
        )
        found = values(LocalBoards(target(logs=logs, **{"lambda": FakeLambda()})).read(NOW, {"mail-dead-letters": 3}))
        assert found["Orders", "placed"] == (1,)
        assert found["Orders by outcome", "confirmed"] == (3,)
        assert found["From placed to decided", "p99"] == (40,)
        assert found["Service levels, good share", "Placed to decided"] == (pytest.approx(66.667),)
        assert found["Invocations", "orders-place"] == (1,)
        assert found["Duration billed", "orders-place"] == (0.013,)
        assert found["Errors of functions", "orders-place"] == (1,)
        assert found["Dead letters", "mail"] == (3,)

    def test_log_lines_are_counted_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(boards, "LOCAL_SECONDS", 0)
        logs = FakeLogs(printed(Measurement(metrics.ORDERS_PLACED, 1)))
        source = LocalBoards(target(logs=logs, **{"lambda": FakeLambda()}))
        source.read(NOW, {})
        assert values(source.read(NOW, {}))["Orders", "placed"] == (1,)

    def test_log_is_read_every_few_seconds_only(self) -> None:
        logs = FakeLogs()
        source = LocalBoards(target(logs=logs, **{"lambda": FakeLambda()}))
        source.read(NOW, {})
        source.read(NOW, {})
        assert logs.reads == 1


class FakeCloudWatch:
    """Answers each requested metric with one point, and records the queries."""

    def __init__(self) -> None:
        self.requested: list[dict[str, Any]] = []

    def get_paginator(self, _name: str) -> FakeCloudWatch:
        return self

    def paginate(self, **request: Any) -> list[dict[str, Any]]:
        queries = request["MetricDataQueries"]
        assert len(queries) <= boards.MOST_QUERIES
        self.requested += queries
        names = [query["Id"] for query in queries if query["ReturnData"]]
        return [{"MetricDataResults": [{"Id": name, "Timestamps": [NOW], "Values": [7.0]} for name in names]}]


class TestCloudWatch:
    def test_every_metric_is_queried_with_the_names_of_the_stack(self) -> None:
        cloudwatch = FakeCloudWatch()
        read = CloudWatchBoards(target(cloudwatch=cloudwatch)).read(NOW, {})
        assert set(values(read).values()) == {(7.0,)}
        assert len(values(read)) == len({(chart.title, line.label) for board in BOARDS for chart in board.charts for line in chart.lines})
        assert "${" not in json.dumps(cloudwatch.requested)
        assert len({query["Id"] for query in cloudwatch.requested}) == len(cloudwatch.requested)
        tables = [query for query in cloudwatch.requested if "table-of-events" in json.dumps(query)]
        assert len(tables) == 2


def body_of(board: dashboards.Board, *, sells_always: bool = True) -> dict[str, Any]:
    """Return the body of a dashboard as CloudFormation writes it, with unresolved references."""
    body = dashboard_widgets.resources()[f"{board.title}Dashboard"]["Properties"]["DashboardBody"]
    parts = body["Fn::Join"][1] if "Fn::Join" in body else [body]
    chosen = [part["Fn::If"][1 if sells_always else 2] if "Fn::If" in part else part for part in parts]
    return json.loads("".join(part["Fn::Sub"] if isinstance(part, dict) else part for part in chosen))


class TestDescription:
    def test_dashboards_are_the_documented_four(self) -> None:
        assert [board.name for board in BOARDS] == ["business", "flow", "money", "cost"]

    @pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
    def test_dashboard_has_no_more_metrics_than_a_free_one(self, board: dashboards.Board) -> None:
        body = body_of(board)
        rows = [row for widget in body["widgets"] for row in widget["properties"].get("metrics", [])]
        assert sum(isinstance(row[0], str) for row in rows) <= dashboards.MOST

    @pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
    def test_body_has_a_widget_for_each_chart_and_its_ids_are_unique(self, board: dashboards.Board) -> None:
        body = body_of(board)
        widgets = [widget["properties"]["title"] for widget in body["widgets"] if widget["type"] == "metric"]
        assert widgets == [chart.title for chart in board.charts]
        for widget in body["widgets"]:
            ids = [row[-1]["id"] for row in widget["properties"].get("metrics", []) if "id" in row[-1]]
            assert len(set(ids)) == len(ids)
        places = {(widget["x"], widget["y"]) for widget in body["widgets"]}
        assert len(places) == len(body["widgets"])

    def test_flow_lists_each_alarm_that_is_on_and_that_the_stack_has(self) -> None:
        [flow] = [board for board in BOARDS if board.has_alarms]
        everything = {alarm.id: alarm.condition for alarm in alarms.every_alarm()}
        for sells_always in (True, False):
            _, states, *_ = body_of(flow, sells_always=sells_always)["widgets"]
            expected = {name for name, condition in everything.items() if sells_always or condition == "HasAlarms"}
            assert states["properties"]["states"] == ["ALARM"]
            assert {one.removesuffix(".Arn}").removeprefix("${") for one in states["properties"]["alarms"]} == expected
            # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
            assert len(states["properties"]["alarms"]) <= 100
        assert set(everything.values()) == {"HasAlarms", "SellsAlways"}

    def test_own_metrics_on_dashboards_exist_with_these_dimensions(self) -> None:
        known = {one.name: one for one in vars(metrics).values() if isinstance(one, metrics.Metric)}
        for line in boards.every_line():
            for series in line.series.values():
                if series.namespace == boards.OWN and series.metric in known:
                    names = {name for name, _ in series.dimensions}
                    assert names in [set(one) for one in known[series.metric].dimensions], line.label
                elif series.namespace == boards.OWN:
                    assert series.metric in {"PlaceRequests", "PlaceFaults", "PlaceSlow"}
