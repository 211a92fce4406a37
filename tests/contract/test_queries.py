"""The saved queries read log groups and lines that exist."""

from __future__ import annotations

import re

from devtools.monitoring.queries import LOG_QUERIES
from devtools.target import ROOT
from orderflow.domain import metrics
from tests.contract.stack import Stack
from tests.support.guidance import require_same

SOURCES = [path.read_text("utf-8") for folder in ("functions", "layers/powertools/orderflow") for path in (ROOT / folder).rglob("*.py")]
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text("utf-8")


def test_queries_read_the_log_group_of_every_context(stack: Stack) -> None:
    groups = [group["LogGroupName"] for group in stack.of("Logs::LogGroup").values() if "/aws/lambda/" in str(group["LogGroupName"])]
    found = stack.of("Logs::QueryDefinition")
    require_same(found, {query.id for query in LOG_QUERIES}, "observability.yaml", "run `make observability`")
    for name, query in found.items():
        assert sorted(map(str, query["LogGroupNames"])) == sorted(map(str, groups)), name
        assert query["Name"]["Fn::Sub"].startswith("${AWS::StackName}/"), name


def test_messages_and_metrics_that_queries_name_are_written() -> None:
    for query in LOG_QUERIES:
        for message in re.findall(r'message = "(\w+)"', query.text):
            assert any(f'"{message}"' in text for text in SOURCES), message
        named = set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)+\b", query.text))
        assert named <= {one.name for one in vars(metrics).values() if isinstance(one, metrics.Metric)} | {"CloudWatchMetrics"}, query.id


def test_log_messages_and_queries_that_runbooks_name_exist() -> None:
    messages = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", RUNBOOKS)) - NO_MESSAGES
    assert messages
    for message in messages:
        assert any(f'"{message}"' in text for text in SOURCES), message
    assert set(re.findall(r"`<stack>/([a-z-]+)`", RUNBOOKS)) <= {query.name for query in LOG_QUERIES}


# Flags, attributes and a field of the access log, which runbooks name as well.
NO_MESSAGES = {"hold_every_order", "payment_provider", "redrive_attempts", "latency_ms"}
