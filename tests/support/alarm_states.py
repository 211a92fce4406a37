"""CloudWatch's alarms over synthetic data: the state that follows from statistics and metric math."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from devtools.monitoring.metric_math import evaluated, statistic

type Points = list[tuple[int, float]]
type Data = Mapping[str, Points]

_BREACHES: dict[str, Callable[[float, float], bool]] = {"GreaterThanThreshold": operator.gt, "LessThanThreshold": operator.lt}

# An alarm reads more periods than it evaluates, and takes an older data point before it treats a period as missing. CloudWatch does not
# say how many (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html).
MORE_PERIODS = 2


def is_on(alarm: Mapping[str, Any], data: Data, now: int) -> bool:
    """Return whether an alarm of the template is on at `now` (seconds); `data` has the points (time, value) of each metric."""
    queries: list[dict[str, Any]] = alarm.get("Metrics") or [_own(alarm)]
    stats = {query["Id"]: query["MetricStat"] for query in queries if "MetricStat" in query}
    period = next(iter(stats.values()))["Period"]
    needed: int = alarm["EvaluationPeriods"]
    ends = [now - period * number for number in range(needed + MORE_PERIODS)]
    results = [_breaches(alarm, queries, {name: _of_period(stat, data, end - period, end) for name, stat in stats.items()}) for end in ends]
    found = [result for result in results if result is not None][:needed]
    found += [alarm["TreatMissingData"] == "breaching"] * (needed - len(found))
    return sum(found) >= alarm.get("DatapointsToAlarm", needed)


def _own(alarm: Mapping[str, Any]) -> dict[str, Any]:
    stat = alarm.get("Statistic") or alarm["ExtendedStatistic"]
    return {"Id": "value", "MetricStat": {"Stat": stat, "Period": alarm["Period"], "Metric": {"MetricName": alarm["MetricName"]}}}


def _of_period(stat: Mapping[str, Any], data: Data, start: int, end: int) -> float | None:
    points = data.get(stat["Metric"]["MetricName"], [])
    return statistic(stat["Stat"], [value for time, value in points if start < time <= end])


def _breaches(alarm: Mapping[str, Any], queries: list[dict[str, Any]], values: Mapping[str, float | None]) -> bool | None:
    """Return whether the values of a period breach, or None where the alarm has no data point."""
    [expression] = [query["Expression"] for query in queries if "Expression" in query] or ["value"]
    if expression.startswith("ANOMALY_DETECTION_BAND"):
        return None if values["value"] is None else not BAND[0] <= values["value"] <= BAND[1]
    found = evaluated(expression, values)
    return None if found is None else _BREACHES[alarm["ComparisonOperator"]](found, alarm["Threshold"])


# The expected range that the anomaly model would have learned.
BAND = (50, 150)


def rule_holds(rule: str, on: Callable[[str], bool]) -> bool:
    """Evaluate the rule of a composite alarm; `on` returns whether the alarm with a logical id is on."""
    python = re.sub(r'ALARM\("\$\{(\w+)\}"\)', lambda found: str(on(found[1])), rule)
    python = python.replace("OR", "or").replace("AND", "and").replace("FALSE", "False")
    assert not set(re.findall(r"\w+", python)) - {"True", "False", "or", "and"}, python
    return bool(eval(python))  # noqa: S307 - words and brackets only, as asserted


def every(seconds: int, value: float, since: int, until: int) -> Points:
    """Return points of this value, one every `seconds`."""
    return [(time, value) for time, _ in pairwise(range(since + seconds, until + 2 * seconds, seconds))]
