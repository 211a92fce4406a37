"""Code, documents and alarms use the same metrics."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from devtools.monitoring import command, metric_catalogue
from devtools.target import ROOT
from orderflow.domain import metrics
from orderflow.domain.metrics import Metric
from tests.contract.stack import Stack
from tests.support.guidance import require_same

REGISTRY = {name: one for name, one in vars(metrics).items() if isinstance(one, Metric)}
LAYER = ROOT / "layers" / "powertools" / "orderflow"
OWN = {"Fn::Sub": "OrderPipeline/${AWS::StackName}"}


@cache
def recorded(folder: Path) -> frozenset[str]:
    """Return the metrics that the code in a folder records, by their names in the registry."""
    trees = [ast.parse(path.read_text("utf-8")) for path in folder.rglob("*.py") if path.name != "metrics.py"]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return frozenset(
        node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == "metrics" and node.attr in REGISTRY
    )


def test_every_metric_is_recorded_and_described() -> None:
    everywhere = recorded(LAYER).union(*(recorded(folder) for folder in (ROOT / "functions").iterdir() if folder.is_dir()))
    require_same(REGISTRY, everywhere, "orderflow/domain/metrics.py", "a metric is defined there if and only if code records it")
    described = [name for name, metric in REGISTRY.items() if metric in {one.metric for one in metric_catalogue.CATALOGUE}]
    require_same(described, REGISTRY, "CATALOGUE in devtools/monitoring/metric_catalogue.py", "it describes every metric")
    assert len(metric_catalogue.CATALOGUE) == len(REGISTRY)


def test_metric_is_recorded_where_the_catalogue_says() -> None:
    for one in metric_catalogue.CATALOGUE:
        contexts = {part.strip().partition("/")[0] for part in one.by.split(",")}
        [name] = [name for name, metric in REGISTRY.items() if metric is one.metric]
        folders = [ROOT / "functions" / context for context in contexts if (ROOT / "functions" / context).is_dir()]
        found = [name in recorded(folder) for folder in folders]
        assert all(found) and found if name not in recorded(LAYER) else True, one.metric.name


def test_no_metric_has_a_dimension_of_many_values() -> None:
    known = {"service", "outcome", "step", "currency", "operation", "reason", "cause"}
    used = {name for metric in REGISTRY.values() for names in metric.dimensions for name in names}
    require_same(known, used, "`known` in this test", "a dimension must have few values: each combination is billed as a metric")


def test_steps_are_those_of_the_saga() -> None:
    calls = [
        node
        for path in (ROOT / "functions").rglob("handlers/*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "timed_step"
    ]
    timed = {str(argument.value) for call in calls for argument in call.args if isinstance(argument, ast.Constant)}
    where = "STEP_OUTCOMES in devtools/monitoring/metric_catalogue.py"
    require_same(metric_catalogue.STEP_OUTCOMES, timed, where, "it lists the outcomes of each step that @timed_step names")
    workflow = (ROOT / "workflows" / "fulfilment.asl.json").read_text("utf-8")
    assert len(timed) == len(set(re.findall(r"\$\{(\w+)\}", workflow)) - {"OperationsQueueUrl"})


@pytest.mark.parametrize("path", sorted(command.files()), ids=lambda path: path.name)
def test_generated_files_are_current(path: Path) -> None:
    assert path.read_text("utf-8") == command.files()[path], "run `make observability`"


def test_alarms_watch_metrics_that_are_recorded(stack: Stack) -> None:
    known = {one.name: one for one in REGISTRY.values()}
    filtered = {one["MetricName"] for found in stack.of("Logs::MetricFilter").values() for one in found["MetricTransformations"]}
    for name, alarm in stack.of("CloudWatch::Alarm").items():
        for watched in watched_metrics(alarm):
            if watched["Namespace"] == OWN:
                dimensions = tuple(sorted(one["Name"] for one in watched.get("Dimensions", ())))
                metric = known.get(watched["MetricName"])
                allowed = {tuple(sorted(names)) for names in metric.dimensions} if metric else {()}
                assert metric or watched["MetricName"] in filtered, (name, watched["MetricName"])
                assert dimensions in allowed, name


def watched_metrics(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics of an alarm: its own, or those of its expression."""
    if "Metrics" not in alarm:
        return [alarm]
    return [query["MetricStat"]["Metric"] for query in alarm["Metrics"] if "MetricStat" in query]
