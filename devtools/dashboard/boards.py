"""Read the lines of the four dashboards: from CloudWatch for a stack on AWS, from the functions' log lines for a local one."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched, count, repeat
from typing import Any

from devtools.monitoring.dashboard_widgets import renamed
from devtools.monitoring.dashboards import BOARDS, Board, Chart, Line
from devtools.monitoring.metric_math import evaluated, statistic
from devtools.monitoring.model import OWN, Series
from devtools.ops import function_logs
from devtools.target import Target

HOURS = 3
# CloudWatch's period on the dashboards, and a shorter one where a few orders are all there is.
AWS_PERIOD, LOCAL_PERIOD = 300, 60
MOST_QUERIES = 500
# The log is read that often at most, and each time only its new lines.
LOCAL_SECONDS = 10
_REPORT = re.compile(r"^REPORT RequestId: \S+\s+Duration: ([\d.]+) ms")
_FAILED = '"message":"invocation_failed"'

type Key = tuple[str, str, tuple[tuple[str, str], ...]]
type Points = list[tuple[int, float]]


@dataclass(frozen=True)
class LineReading:
    """A line with its points: times (UTC) and values."""

    label: str
    times: tuple[str, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class ChartReading:
    """A chart with the lines that have data."""

    title: str
    unit: str
    lines: tuple[LineReading, ...]


@dataclass(frozen=True)
class BoardReading:
    """A dashboard with its charts."""

    name: str
    title: str
    charts: tuple[ChartReading, ...]


def read_with(values: Mapping[int, Mapping[int, float]]) -> tuple[BoardReading, ...]:
    """Return the boards; `values` has those of each line by time (seconds), the lines of all boards numbered in their order."""
    numbers = count()
    return tuple(BoardReading(board.name, board.title, tuple(_chart(chart, values, numbers) for chart in board.charts)) for board in BOARDS)


def _chart(chart: Chart, values: Mapping[int, Mapping[int, float]], numbers: Iterator[int]) -> ChartReading:
    lines = (_line(line, values.get(next(numbers), {})) for line in chart.lines)
    return ChartReading(chart.title, chart.unit, tuple(line for line in lines if line.times))


def _line(line: Line, values: Mapping[int, float]) -> LineReading:
    times = sorted(values)
    return LineReading(line.label, tuple(map(_written, times)), tuple(values[at] for at in times))


def every_line(boards: Iterable[Board] = BOARDS) -> Iterator[Line]:
    """Yield the lines of all boards in their order."""
    return (line for board in boards for chart in board.charts for line in chart.lines)


def _written(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class CloudWatchBoards:
    """The boards of a stack on AWS."""

    def __init__(self, target: Target) -> None:
        """Read the metrics of this stack."""
        self._target = target

    def read(self, now: datetime, _queues: Mapping[str, int]) -> tuple[BoardReading, ...]:
        """Return the boards of the last hours; CloudWatch knows the queues."""
        names = {
            "StackName": self._target.stack,
            "Stage": self._target.resources["ApiStage"],
            "OrderLog": self._target.resources["OrderLog"],
        }
        found: dict[int, dict[int, float]] = defaultdict(dict)
        for some in batched(enumerate(every_line()), MOST_QUERIES // 6, strict=False):
            queries = [query for number, line in some for query in _queries(line, number, names)]
            pages = (
                self._target.client("cloudwatch")
                .get_paginator("get_metric_data")
                .paginate(MetricDataQueries=queries, StartTime=datetime.fromtimestamp(now.timestamp() - HOURS * 3600, UTC), EndTime=now)
            )
            for result in (result for page in pages for result in page["MetricDataResults"]):
                number = int(result["Id"].removeprefix("line"))
                times = [int(at.timestamp()) for at in result["Timestamps"]]
                found[number].update(zip(times, result["Values"], strict=True))
        return read_with(found)


def _queries(line: Line, number: int, names: Mapping[str, str]) -> list[dict[str, Any]]:
    queries = [
        {
            "Id": f"{name}{number}" if line.expression else f"line{number}",
            "ReturnData": not line.expression,
            "MetricStat": {"Stat": series.stat, "Period": AWS_PERIOD, "Metric": _metric(series, names)},
        }
        for name, series in line.series.items()
    ]
    if line.expression:
        queries.append({"Id": f"line{number}", "Expression": renamed(line, str(number)), "ReturnData": True})
    return queries


def _metric(series: Series, names: Mapping[str, str]) -> dict[str, Any]:
    def resolved(text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda found: names[found[1]], text)

    dimensions = [{"Name": name, "Value": resolved(value)} for name, value in series.dimensions]
    return {"Namespace": resolved(series.namespace), "MetricName": series.metric, "Dimensions": dimensions}


class LocalBoards:
    """The boards of a local stack, computed from its functions' log lines: CloudWatch's metrics do not exist there.

    Metrics of the functions come from their lines in the embedded metric format, invocations, durations and errors from the lines about
    invocations, and messages in queues from the queues. Of other services there is no data.
    """

    def __init__(self, target: Target) -> None:
        """Read the log groups and queues of this stack."""
        self._target = target
        self._points: dict[Key, Points] = defaultdict(list)
        self._seen: dict[str, set[str]] = defaultdict(set)
        self._since = int(time.time() - HOURS * 3600) * 1000
        self._read_at = 0.0
        self._boards: tuple[BoardReading, ...] = ()

    def read(self, now: datetime, queues: Mapping[str, int]) -> tuple[BoardReading, ...]:
        """Return the boards; `queues` are the waiting messages by the queue's name without the stack's."""
        if time.monotonic() - self._read_at >= LOCAL_SECONDS:
            self._collect(now)
            for name, waiting in queues.items():
                series = (("QueueName", f"${{StackName}}-{name}"),)
                self._points["AWS/SQS", "ApproximateNumberOfMessagesVisible", series].append((int(now.timestamp()), waiting))
            self._boards = read_with(dict(enumerate(map(self._values, every_line()))))
            self._read_at = time.monotonic()
        return self._boards

    def _collect(self, now: datetime) -> None:
        names = function_logs.functions(self._target)
        groups = function_logs.log_groups(self._target)
        since, self._since = self._since, int(now.timestamp() * 1000) - 5_000
        wanted = sorted({groups[name] for name in names})
        with ThreadPoolExecutor(4) as pool:
            found = pool.map(function_logs.events, repeat(self._target), wanted, repeat(since))
        for group, events in zip(wanted, found, strict=True):
            for event in events:
                if event.get("eventId") not in self._seen[group]:
                    self._seen[group].add(event.get("eventId", ""))
                    name = function_logs.function_of(event, group).removeprefix(f"{self._target.stack}-")
                    for key, points in measured(name, event["message"], event["timestamp"] // 1000).items():
                        self._points[key] += points

    def _values(self, line: Line) -> dict[int, float]:
        """Return the values of a line by the start of their period."""
        periods: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for name, series in line.series.items():
            for at, value in self._points.get((series.namespace, series.metric, series.dimensions), ()):
                periods[at - at % LOCAL_PERIOD][name].append(value)
        found = {
            at: evaluated(line.expression or "value", {name: statistic(series.stat, values[name]) for name, series in line.series.items()})
            for at, values in periods.items()
        }
        return {at: round(value, 3) for at, value in found.items() if value is not None}


def measured(function: str, message: str, at: int) -> dict[Key, Points]:
    """Return the measurements of a log line: the values of each series, all at the time `at` (seconds)."""
    of_function = (("FunctionName", f"${{StackName}}-{function}"),)
    if report := _REPORT.match(message):
        return {("AWS/Lambda", "Invocations", of_function): [(at, 1.0)], ("AWS/Lambda", "Duration", of_function): [(at, float(report[1]))]}
    if _FAILED in message.replace(" ", ""):
        return {("AWS/Lambda", "Errors", of_function): [(at, 1.0)]}
    return _embedded(message, at) if function_logs.METRICS in message else {}


def _embedded(message: str, at: int) -> dict[Key, Points]:
    try:
        document = json.loads(message)
    except ValueError:
        return {}
    found: dict[Key, Points] = {}
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = tuple((name, document[name]) for name in names)
            for metric in directive["Metrics"]:
                value: float | list[float] = document[metric["Name"]]
                found[OWN, metric["Name"], dimensions] = [(at, one) for one in (value if isinstance(value, list) else [value])]
    return found
