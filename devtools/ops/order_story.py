"""One order's log lines from a stack on AWS: the saved query of CloudWatch Logs Insights, and links to its traces in X-Ray."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from devtools.cli import UserError
from devtools.monitoring.queries import CONTEXTS, LOG_QUERIES, ORDER
from devtools.ops import function_logs
from devtools.ops.function_logs import LogLine
from devtools.target import Target

QUERY = next(query for query in LOG_QUERIES if query.id == "OrderStoryQuery")
SECONDS = 60.0
_POLL_SECONDS = 1.0


def read(target: Target, order_id: str, since: int) -> list[LogLine]:
    """Return the lines about an order since a time (epoch ms), oldest first.

    Raises:
        UserError: the query failed or took longer than a minute.
    """
    logs = target.client("logs")
    query = logs.start_query(
        logGroupNames=[f"/aws/lambda/{target.stack}-{context}" for context in CONTEXTS],
        startTime=since // 1000,
        endTime=int(time.time()) + 1,
        queryString=QUERY.text.replace(ORDER, order_id),
    )
    rows = _results(logs, query["queryId"])
    return sorted(_line(target, {field["field"]: field["value"] for field in row}) for row in rows)


def _results(logs: Any, query_id: str) -> list[list[dict[str, str]]]:
    end = time.monotonic() + SECONDS
    while True:
        found = logs.get_query_results(queryId=query_id)
        if found["status"] == "Complete":
            return found["results"]
        if found["status"] not in {"Scheduled", "Running"} or time.monotonic() > end:
            raise UserError(f"the query of the order's log lines is {found['status']}; repeat it, or run {QUERY.name} in Logs Insights")
        time.sleep(_POLL_SECONDS)


def _line(target: Target, row: dict[str, str]) -> LogLine:
    at = datetime.fromisoformat(row["@timestamp"]).replace(tzinfo=UTC)
    function = function_logs.function_of({"logStreamName": row.get("@logStream", "")}, "")
    return LogLine(round(at.timestamp() * 1000), function.removeprefix(f"{target.stack}-"), row["@message"].rstrip(), row.get("@ptr", ""))


def trace_links(target: Target, lines: Iterable[LogLine]) -> list[str]:
    """Return the addresses of the order's traces in X-Ray's console, in their order; lines name a trace where X-Ray keeps it."""
    region = target.client("logs").meta.region_name
    traces = dict.fromkeys(str(found) for line in lines if (found := line.fields.get("xray_trace_id")))
    return [f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#xray:traces/{trace}" for trace in traces]
