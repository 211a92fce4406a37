"""docs/performance.md documents the limit of every store and consumer of the template."""

from __future__ import annotations

import re
from typing import Any

import pytest

from devtools import template
from devtools.bench import page

STORES = {
    "AWS::DynamoDB::Table",
    "AWS::S3::Bucket",
    "AWS::Kinesis::Stream",
    "AWS::KinesisFirehose::DeliveryStream",
    "AWS::Events::Archive",
    "AWS::Serverless::StateMachine",
}
SOURCES = {"SQS", "Kinesis", "DynamoDB"}
RESOURCES = template.source()["Resources"]


def stores() -> set[str]:
    return {name for name, resource in RESOURCES.items() if resource["Type"] in STORES}


def is_usual(properties: dict[str, Any]) -> bool:
    """Return whether a queue is read with the usual limit, which the page documents for all consumers that have it."""
    limit = properties.get("ScalingConfig", {}).get("Fn::If", [None, {}])[1]
    return properties.get("BatchSize") == 10 and limit == {"MaximumConcurrency": 10}


def consumers() -> set[str]:
    """Return the functions that a queue, a stream or a schedule invokes."""
    functions = {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == "AWS::Serverless::Function"}
    fed = {
        name
        for name, one in functions.items()
        if any(event["Type"] in SOURCES and not is_usual(event["Properties"]) for event in one.get("Events", {}).values())
    }
    schedules = [one["Properties"]["Target"]["Arn"] for one in RESOURCES.values() if one["Type"] == "AWS::Scheduler::Schedule"]
    return fed | {arn["Fn::GetAtt"][0] for arn in schedules}


def documented() -> set[str]:
    """Return the names in the first columns of the tables of limits."""
    text = page.DOCUMENT.read_text("utf-8").partition(page.LIMITS)[2]
    return {name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])}


@pytest.mark.parametrize("name", sorted(stores() | consumers()))
def test_limit_of_each_store_and_consumer_is_documented(name: str) -> None:
    assert name in documented(), f"add a row with the limit of {name} to docs/performance.md"


def test_each_documented_limit_belongs_to_a_resource() -> None:
    assert documented() <= RESOURCES.keys()


def test_each_limit_names_outcome_and_remedy() -> None:
    text = page.DOCUMENT.read_text("utf-8").partition(page.LIMITS)[2]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    assert rows
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in rows)
