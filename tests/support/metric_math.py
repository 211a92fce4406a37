"""CloudWatch's alarms over synthetic data: statistics, metric math and the state that follows."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

type Points = list[tuple[int, float]]
type Data = Mapping[str, Points]

_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {ast.GtE: operator.ge, ast.Gt: operator.gt, ast.Lt: operator.lt}
_BREACHES: dict[str, Callable[[float, float], bool]] = {"GreaterThanThreshold": operator.gt, "LessThanThreshold": operator.lt}


def statistic(name: str, values: list[float]) -> float | None:
    """Return a statistic of the values of a period, or None where there are none.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
    """
    if not values:
        return None
    known = {"Sum": sum(values), "SampleCount": len(values), "Maximum": max(values), "Average": sum(values) / len(values)}
    if name in known:
        return known[name]
    if rank := re.fullmatch(r"PR\(:(\d+)\)", name):
        return 100 * sum(value <= int(rank[1]) for value in values) / len(values)
    percentile = re.fullmatch(r"p(\d+)", name)
    assert percentile, name
    return sorted(values)[max(0, math.ceil(len(values) * int(percentile[1]) / 100) - 1)]


def evaluated(expression: str, values: Mapping[str, float | None]) -> float | None:
    """Return the value of an expression; None where a value that it needs is missing."""
    return _value(ast.parse(expression, mode="eval").body, values)


def _value(node: ast.expr, values: Mapping[str, float | None]) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _apply(_ARITHMETIC[type(op)], _value(left, values), _value(right, values))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return _apply(_COMPARISONS[type(op)], _value(left, values), _value(right, values))
        case ast.Call(func=ast.Name(id="IF"), args=[condition, yes, no]):
            holds = _value(condition, values)
            return None if holds is None else _value(yes if holds else no, values)
        case ast.Call(func=ast.Name(id="FILL"), args=[one, other]):
            found = _value(one, values)
            return _value(other, values) if found is None else found
        case ast.Call(func=ast.Name(id="SUM"), args=[ast.List(elts=several)]):
            found = [value for one in several if (value := _value(one, values)) is not None]
            return sum(found) if found else None
        case _:
            raise AssertionError(ast.dump(node))


def _apply(operation: Callable[[float, float], float], left: float | None, right: float | None) -> float | None:
    if left is None or right is None or (operation is operator.truediv and not right):
        return None
    return operation(left, right)


def is_on(alarm: Mapping[str, Any], data: Data, now: int) -> bool:
    """Return whether an alarm of the template is on at `now` (seconds), for points of time and value by the name of the metric."""
    queries: list[dict[str, Any]] = alarm.get("Metrics") or [_own(alarm)]
    stats = {query["Id"]: query["MetricStat"] for query in queries if "MetricStat" in query}
    period = next(iter(stats.values()))["Period"]
    ends = [now - period * number for number in range(alarm["EvaluationPeriods"])]
    found = [_breaches(alarm, queries, {name: _of_period(stat, data, end - period, end) for name, stat in stats.items()}) for end in ends]
    return sum(found) >= alarm.get("DatapointsToAlarm", len(found))


def _own(alarm: Mapping[str, Any]) -> dict[str, Any]:
    stat = alarm.get("Statistic") or alarm["ExtendedStatistic"]
    return {"Id": "value", "MetricStat": {"Stat": stat, "Period": alarm["Period"], "Metric": {"MetricName": alarm["MetricName"]}}}


def _of_period(stat: Mapping[str, Any], data: Data, start: int, end: int) -> float | None:
    points = data.get(stat["Metric"]["MetricName"], [])
    return statistic(stat["Stat"], [value for time, value in points if start < time <= end])


def _breaches(alarm: Mapping[str, Any], queries: list[dict[str, Any]], values: Mapping[str, float | None]) -> bool:
    [expression] = [query["Expression"] for query in queries if "Expression" in query] or ["value"]
    if expression.startswith("ANOMALY_DETECTION_BAND"):
        return values["value"] is not None and not BAND[0] <= values["value"] <= BAND[1]
    found = evaluated(expression, values)
    return alarm["TreatMissingData"] == "breaching" if found is None else _BREACHES[alarm["ComparisonOperator"]](found, alarm["Threshold"])


# The band that the model would have learned.
BAND = (50, 150)


def rule_holds(rule: str, on: Callable[[str], bool]) -> bool:
    """Evaluate the rule of a composite alarm; `on` tells the state of an alarm by its logical id."""
    python = re.sub(r'ALARM\("\$\{(\w+)\}"\)', lambda found: str(on(found[1])), rule)
    python = python.replace("OR", "or").replace("AND", "and").replace("FALSE", "False")
    assert not set(re.findall(r"\w+", python)) - {"True", "False", "or", "and"}, python
    return bool(eval(python))  # noqa: S307 - words and brackets only, as asserted


def every(seconds: int, value: float, since: int, until: int) -> Points:
    """Return a point with this value every so many seconds."""
    return [(time, value) for time, _ in pairwise(range(since + seconds, until + 2 * seconds, seconds))]
