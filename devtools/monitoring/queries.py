"""The saved queries: of the functions' log lines by CloudWatch Logs Insights, and of the audit archive by Athena."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devtools.monitoring.model import kebab
from devtools.target import ROOT

CONTEXTS = tuple(sorted(path.parent.name for path in (ROOT / "functions").glob("*/handlers")))
# Stands for an order's id in a saved query.
ORDER = "ord_REPLACE"


@dataclass(frozen=True)
class Query:
    """A saved query with its logical id and its question."""

    id: str
    answers: str
    text: str

    @property
    def name(self) -> str:
        """The query's name."""
        return kebab(self.id.removesuffix("Query"))


LOG_QUERIES = (
    Query(
        "OrderStoryQuery",
        "One order's whole story: the lines of all functions, oldest first. Replace the order id.",
        f"""fields @timestamp, @logStream, level, message, outcome, event_id, correlation_id, xray_trace_id, @message
| filter @message like "{ORDER}" and not ispresent(_aws.Timestamp)
| sort @timestamp
| limit 1000
""",
    ),
    Query(
        "SlowestStepsQuery",
        "The slowest steps of the saga by outcome.",
        """filter ispresent(SagaStepMilliseconds)
| stats count(*) as runs, pct(SagaStepMilliseconds, 50) as p50, pct(SagaStepMilliseconds, 99) as p99,
    max(SagaStepMilliseconds) as slowest by step, outcome
| sort p99 desc
""",
    ),
    Query(
        "RefusalsByReasonQuery",
        "Refused requests by problem and reason.",
        """filter message = "request_refused"
| stats count(*) as refusals by service, outcome, problem, reason
| sort refusals desc
""",
    ),
    Query(
        "ReleaseChangesQuery",
        "Changes by a release: lines, errors and restarts by function and version.",
        """parse @logStream "*/*/*/*[*]*" as year, month, day, function, version, instance
| stats count(*) as lines, sum(level = "ERROR") as errors, sum(level = "WARNING") as warnings, sum(cold_start) as cold_starts
    by function, version
| sort function, version
""",
    ),
    Query(
        "CostDriversQuery",
        "Which lines the logs are billed for, and which functions write them.",
        """fields strlen(@message) as bytes
| stats sum(bytes) as total_bytes, count(*) as lines by @log, message
| sort total_bytes desc
| limit 50
""",
    ),
)
# `make audit` runs the queries of these names. Days are partitions: Athena reads and bills only the requested days.
AUDIT_QUERIES = (
    Query(
        "AuditEventsByDay",
        "Events and records by type and day; parameters: first day, last day.",
        """SELECT date, type, count(DISTINCT event_id) AS events, count(*) AS records
FROM archive WHERE date BETWEEN ? AND ?
GROUP BY date, type ORDER BY date, type
""",
    ),
    Query(
        "AuditOutcomesByDay",
        "Orders by day and outcome; parameters: first day, last day.",
        """SELECT date, type, count(DISTINCT order_id) AS orders FROM archive
WHERE date BETWEEN ? AND ? AND type IN ('OrderPlaced', 'OrderConfirmed', 'OrderRejected', 'OrderCancelled')
GROUP BY date, type ORDER BY date, type
""",
    ),
    Query(
        "AuditCapturedByDay",
        "Captured amounts by day and currency, in minor units; parameters: first day, last day.",
        """SELECT date, json_extract_scalar(data, '$.amount.currency') AS currency,
  sum(CAST(json_extract_scalar(data, '$.amount.amount') AS bigint)) AS minor_units
FROM (SELECT DISTINCT event_id, date, data FROM archive WHERE date BETWEEN ? AND ? AND type = 'PaymentCaptured') AS captured
GROUP BY 1, 2 ORDER BY 1, 2
""",
    ),
    Query(
        "AuditTimeline",
        "The events of one order; parameters: first day, last day, order id.",
        """SELECT DISTINCT order_version, occurred_at, recorded_at, type, source, data
FROM archive WHERE date BETWEEN ? AND ? AND order_id = ? ORDER BY order_version
""",
    ),
    Query(
        "AuditDeliveredAgain",
        "Events with more than one record, most records first; parameters: first day, last day.",
        """SELECT event_id, count(*) AS records FROM archive WHERE date BETWEEN ? AND ?
GROUP BY event_id HAVING count(*) > 1 ORDER BY records DESC, event_id
""",
    ),
)


def resources() -> dict[str, Any]:
    """Return the saved queries as CloudFormation resources."""
    return {query.id: _log_query(query) for query in LOG_QUERIES} | {query.id: _audit_query(query) for query in AUDIT_QUERIES}


def _log_query(query: Query) -> dict[str, Any]:
    return {
        "Type": "AWS::Logs::QueryDefinition",
        "Properties": {
            "Name": {"Fn::Sub": f"${{StackName}}/{query.name}"},
            "LogGroupNames": [{"Fn::Sub": f"/aws/lambda/${{StackName}}-{context}"} for context in CONTEXTS],
            "QueryString": f"# {query.answers}\n{query.text}",
        },
    }


def _audit_query(query: Query) -> dict[str, Any]:
    return {
        "Type": "AWS::Athena::NamedQuery",
        "Properties": {
            "Name": query.name.removeprefix("audit-"),
            "Description": query.answers,
            "Database": {"Ref": "AuditCatalogue"},
            "WorkGroup": {"Ref": "AuditQueries"},
            "QueryString": query.text,
        },
    }
