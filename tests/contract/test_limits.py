"""docs/performance.md documents the limit of every store and consumer of the template."""

from __future__ import annotations

import re

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


def consumers() -> set[str]:
    """Return the functions that a queue, a stream or a schedule invokes."""
    functions = {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == "AWS::Serverless::Function"}
    fed = {name for name, one in functions.items() if any(event["Type"] in SOURCES for event in one.get("Events", {}).values())}
    schedules = [one["Properties"]["Target"]["Arn"] for one in RESOURCES.values() if one["Type"] == "AWS::Scheduler::Schedule"]
    return fed | {arn["Fn::GetAtt"][0] for arn in schedules}


def documented() -> set[str]:
    """Return the names in the first columns of the tables of limits."""
    text = page.DOCUMENT.read_text("utf-8").partition(page.LIMITS)[2]
    return {name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])}


@pytest.mark.parametrize("name", sorted(stores() | consumers()))
def test_limit_of_each_store_and_consumer_is_documented(name: str) -> None:
    assert name in documented()


def test_each_documented_limit_belongs_to_a_resource() -> None:
    assert documented() <= RESOURCES.keys()


def test_each_limit_names_outcome_and_remedy() -> None:
    text = page.DOCUMENT.read_text("utf-8").partition(page.LIMITS)[2]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    assert rows
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in rows)
