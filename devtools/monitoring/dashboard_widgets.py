"""The dashboards as CloudWatch draws them: resources of CloudFormation, with widgets on a grid."""

import json
import re
from typing import Any

from devtools.monitoring import alarms
from devtools.monitoring.dashboards import BOARDS, PERIOD, Board, Chart, Line
from devtools.monitoring.model import Series

WIDTH, HEIGHT, ALARMS_HEIGHT = 12, 6, 2
LONGEST = 115


def resources() -> dict[str, Any]:
    """Return the dashboards as CloudFormation resources."""
    return {
        f"{board.title}Dashboard": {
            "Type": "AWS::CloudWatch::Dashboard",
            "Condition": "HasAlarms",
            "Properties": {
                "DashboardName": {"Fn::Sub": f"${{StackName}}-{board.name}"},
                "DashboardBody": _substituted(_written({"widgets": widgets(board)})),
            },
        }
        for board in BOARDS
    }


def _substituted(text: str) -> dict[str, Any]:
    """Return a body whose references CloudFormation resolves, without the alarms that the stack does not have."""
    conditions = {alarm.id: alarm.condition for alarm in alarms.every_alarm() if alarm.condition != "HasAlarms"}
    parts = re.split(rf'("\$\{{(?:{"|".join(conditions)})\.Arn\}}",\s+)', text)
    if len(parts) == 1:
        return {"Fn::Sub": text}
    return {"Fn::Join": ["", [_optional(part, conditions) if number % 2 else {"Fn::Sub": part} for number, part in enumerate(parts)]]}


def _optional(part: str, conditions: dict[str, str]) -> dict[str, Any]:
    [name] = re.findall(r"\w+(?=\.Arn)", part)
    return {"Fn::If": [conditions[name], {"Fn::Sub": part}, ""]}


def _written(body: dict[str, Any]) -> str:
    """Return a body as JSON with a metric in a line, so that a change of one is one line of a diff."""
    lines: list[str] = []
    for widget in body["widgets"]:
        properties = widget["properties"]
        rows = properties.pop("metrics", [])
        start = json.dumps(widget)[:-2]
        if rows:
            lines.append(f'{start}, "metrics": [')
            lines += [f" {json.dumps(row)}," for row in rows]
            lines[-1] = lines[-1][:-1] + "]}},"
        else:
            lines.append(f"{start}}}}},")
    lines[-1] = lines[-1][:-1]
    return "\n".join(['{"widgets": [', *(part for line in lines for part in _wrapped(line)), "]}"]) + "\n"


def _wrapped(line: str) -> list[str]:
    """Cut a line of JSON between its members where it gets long."""
    parts = [""]
    for member in re.split(r'(?<=,) (?=["{\[])', line):
        if len(parts[-1]) + len(member) > LONGEST and parts[-1]:
            parts.append("  ")
        parts[-1] += f"{' ' if parts[-1].strip() else ''}{member}"
    return parts


def widgets(board: Board) -> list[dict[str, Any]]:
    """Return the widgets of a board, two in a row; above them the alarms that notify, and those of them that are on."""
    states = [_alarms("Alarms", [group.id for group in alarms.GROUPS], 0)]
    if board.has_alarms:
        # Optional ones first, as every one of them is followed by another.
        each = sorted(alarms.every_alarm(), key=lambda alarm: alarm.condition == "HasAlarms")
        states.append(_alarms("Alarms in ALARM state, latest first", [alarm.id for alarm in each], ALARMS_HEIGHT))
        states[-1]["properties"] |= {"states": ["ALARM"], "sortBy": "stateUpdatedTimestamp"}
    return [*states, *(_widget(chart, number, ALARMS_HEIGHT * len(states)) for number, chart in enumerate(board.charts))]


def _alarms(title: str, identifiers: list[str], y: int) -> dict[str, Any]:
    arns = [f"${{{one}.Arn}}" for one in identifiers]
    return {
        "type": "alarm",
        "x": 0,
        "y": y,
        "width": 2 * WIDTH,
        "height": ALARMS_HEIGHT,
        "properties": {"title": title, "alarms": arns},
    }


def _widget(chart: Chart, number: int, top: int) -> dict[str, Any]:
    return {
        "type": "metric",
        "x": number % 2 * WIDTH,
        "y": top + number // 2 * HEIGHT,
        "width": WIDTH,
        "height": HEIGHT,
        "properties": {
            "title": chart.title,
            "view": "timeSeries",
            "region": "${AWS::Region}",
            "period": PERIOD,
            # Of shares, the small differences below 100 % count.
            "yAxis": {"left": {"label": chart.unit, "showUnits": False} | ({} if chart.unit == "%" else {"min": 0})},
            "metrics": [row for index, line in enumerate(chart.lines) for row in _rows(line, index)],
        },
    }


def _rows(line: Line, index: int) -> list[list[Any]]:
    if not line.expression:
        [series] = line.series.values()
        return [[*_named(series), {"label": line.label, "stat": series.stat}]]
    hidden = [[*_named(series), {"id": f"{name}{index}", "stat": series.stat, "visible": False}] for name, series in line.series.items()]
    return [[{"expression": renamed(line, str(index)), "label": line.label, "id": f"line{index}"}], *hidden]


def renamed(line: Line, suffix: str) -> str:
    """Return the expression of a line whose series have this suffix, as ids are unique within a chart."""
    text = line.expression
    for name in line.series:
        text = re.sub(rf"\b{name}\b", f"{name}{suffix}", text)
    return text


def _named(series: Series) -> list[str]:
    return [series.namespace, series.metric, *(part for dimension in series.dimensions for part in dimension)]
