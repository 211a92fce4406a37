"""Read the functions' log lines from CloudWatch Logs and render them for a terminal."""

import json
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

from botocore.exceptions import ClientError
from rich.text import Text

from devtools import ui
from devtools.target import Target

PLATFORM = ("START ", "END ", "REPORT ", "INIT_START ")
# Metrics in CloudWatch's embedded format.
METRICS = '"_aws"'
LEVELS = {"ERROR": "red", "CRITICAL": "red", "WARNING": "yellow", "DEBUG": "dim"}
# Fields that repeat another column, or are the same in every line of a function.
KNOWN = frozenset(
    {
        *("location", "timestamp", "service", "cold_start", "xray_trace_id", "sampling_rate"),
        *("function_name", "function_memory_size", "function_arn", "function_request_id"),
        *("exception_name", "stack_trace"),
    }
)


_STREAM = re.compile(r"\d{4}/\d{2}/\d{2}/([^\[]+)\[.*")


@dataclass(frozen=True, order=True)
class LogLine:
    """A log line: time (epoch ms), function (without the stack's name), text, and CloudWatch's event id."""

    time: int
    function: str
    text: str
    id: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a JSON line; empty for other lines."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def functions(target: Target) -> list[str]:
    """Return the names of the deployed functions."""
    return sorted(target.physical_ids("AWS::Lambda::Function").values())


def read(target: Target, names: Iterable[str], since: int = 0) -> list[LogLine]:
    """Return the functions' lines since a time (epoch ms), oldest first, without platform lines and metrics."""
    wanted, groups = set(names), log_groups(target)
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(_read, repeat(target), sorted({groups[name] for name in wanted}), repeat(wanted), repeat(since))
    return sorted(line for lines in found for line in lines)


def log_groups(target: Target) -> dict[str, str]:
    """The log group of each deployed function by the function's name; the functions of a context share one."""
    pages = target.client("lambda").get_paginator("list_functions").paginate()
    deployed = {one["FunctionName"]: one for page in pages for one in page["Functions"]}
    return {name: deployed[name].get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}") for name in functions(target)}


def events(target: Target, group: str, since: int = 0) -> list[dict[str, Any]]:
    """All events of a log group since a time (epoch ms)."""
    pages = target.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since)
    try:
        return [event for page in pages for event in page["events"]]
    except ClientError as error:
        # Some targets create the log group with the function's first line.
        if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
            return []
        raise


def function_of(event: dict[str, Any], group: str) -> str:
    """The name of the function that wrote an event of a log group: the group's own, or the one that the stream of a shared group names.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-loggroups.html
    """
    named = _STREAM.fullmatch(event.get("logStreamName", ""))
    return named[1] if named else group.rpartition("/")[2]


def _read(target: Target, group: str, names: set[str], since: int) -> list[LogLine]:
    lines = [
        LogLine(event["timestamp"], name.removeprefix(f"{target.stack}-"), event["message"].rstrip(), event.get("eventId", ""))
        for event in events(target, group, since)
        if (name := function_of(event, group)) in names
    ]
    return [line for line in lines if line.text and not line.text.startswith(PLATFORM) and METRICS not in line.text]


def belongs_to(order_id: str, correlation_id: str = "") -> Callable[[LogLine], bool]:
    """Return a test of whether a line names an order, by order id or correlation id."""

    def belongs(line: LogLine) -> bool:
        return order_id in line.text or (bool(correlation_id) and correlation_id in line.text)

    return belongs


def rendered(line: LogLine, *, width: int = 0, hidden: frozenset[str] = frozenset(), brief: bool = False) -> Text:
    """Render a line: time, function, level, message, and the fields that are neither common nor `hidden`.

    An exception follows with its traceback, or with the last line alone if `brief`.
    """
    moment = datetime.fromtimestamp(line.time / 1000, UTC)
    text = Text.assemble((f"{moment:%H:%M:%S.%f}"[:-3], "dim"), f"  {line.function:<{width}}  ")
    fields = line.fields
    if not fields:
        return text.append("\n    ".join(line.text.splitlines()))
    level = ui.one_line(str(fields.pop("level", "")))
    text.append(f"{level:<8}", LEVELS.get(level, "")).append(ui.one_line(str(fields.pop("message", ""))))
    trace = str(fields.pop("exception", ""))
    for name, value in fields.items():
        if name not in KNOWN | hidden and value is not None:
            text.append(f"  {ui.one_line(name)}=", "dim").append(_value(value))
    return text.append(_exception(trace, brief=brief), "red")


def _exception(trace: str, *, brief: bool) -> str:
    lines = trace.strip().splitlines()
    return "\n    ".join(["", *(lines[-1:] if brief else lines)]) if lines else ""


def _value(value: Any) -> str:
    return ui.one_line(value if isinstance(value, str) else json.dumps(value))
