"""`make replay`: its period and its rules."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devtools.cli import UserError
from devtools.local import event_archive
from devtools.ops import replay

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
RULES = {"LedgerRule": "arn:1", "OrderViewRule": "arn:2"}
# Answers of CloudFormation and EventBridge: a rule for replays only, one without replays, one for both, and one of another stack.
PAGES: dict[str, dict[str, Any]] = {
    "list_rules": {
        "Rules": [
            {"Name": "stack-Ledger-1", "Arn": "arn:ledger", "EventPattern": '{"replay-name": [{"exists": true}]}'},
            {"Name": "stack-Mail-2", "Arn": "arn:mail", "EventPattern": '{"replay-name": [{"exists": false}]}'},
            {"Name": "stack-Points-3", "Arn": "arn:points", "EventPattern": '{"detail-type": ["OrderConfirmed"]}'},
            {"Name": "every-minute", "Arn": "arn:clock"},
        ]
    },
    "list_stack_resources": {
        "StackResourceSummaries": [
            {"ResourceType": "AWS::Events::Rule", "PhysicalResourceId": "bus|stack-Ledger-1", "LogicalResourceId": "LedgerRule"},
            {"ResourceType": "AWS::Events::Rule", "PhysicalResourceId": "bus|stack-Mail-2", "LogicalResourceId": "MailRule"},
            {"ResourceType": "AWS::Events::Rule", "PhysicalResourceId": "bus|stack-Points-3", "LogicalResourceId": "PointsRule"},
            {"ResourceType": "AWS::SQS::Queue", "PhysicalResourceId": "stack-Ledger-1", "LogicalResourceId": "LedgerQueue"},
        ]
    },
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30m", NOW - timedelta(minutes=30)),
        ("12h", NOW - timedelta(hours=12)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-21T11:00:00Z", NOW - timedelta(hours=1)),
        ("2026-11-21T12:30:00+01:00", NOW - timedelta(minutes=30)),
        ("", None),
    ],
)
def test_time_is_absolute_or_a_duration_before_now(text: str, expected: datetime | None):
    assert replay.moment("FROM", text, NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "1w", "-1h", "2026-11-21T11:00:00", "2026-13-01T00:00:00Z", "999999999d"])
def test_malformed_time_is_rejected_by_name(text: str):
    with pytest.raises(UserError, match=r"^TO must be a time such as 2026-11-21T12:00:00Z"):
        replay.moment("TO", text, NOW)


def test_rule_without_replays_is_rejected_with_the_others():
    assert replay.selected(RULES, "") == RULES
    assert replay.selected(RULES, "LedgerRule") == {"LedgerRule": "arn:1"}
    with pytest.raises(UserError, match=r"\(LedgerRule, OrderViewRule\), not 'NotificationsRule'"):
        replay.selected(RULES, "NotificationsRule")


def test_rules_that_accept_replays_have_logical_ids():
    assert replay.accepting_rules(Deployed()) == {"LedgerRule": "arn:ledger", "PointsRule": "arn:points"}  # pyright: ignore[reportArgumentType]


def test_local_archive_equals_the_templates():
    assert event_archive.described() | {"Description": ""} == {
        "ArchiveName": "order-pipeline-orders",
        "Description": "",
        "RetentionDays": 90,
        "EventPattern": '{"replay-name": [{"exists": false}]}',
    }


class Deployed:
    """A target that answers with these pages."""

    def __init__(self) -> None:
        self.resources = {"EventBus": "bus"}

    def physical_ids(self, kind: str) -> dict[str, str]:
        summaries: list[dict[str, str]] = PAGES["list_stack_resources"]["StackResourceSummaries"]
        return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in summaries if one["ResourceType"] == kind}

    def client(self, _service: str) -> "Deployed":
        return self

    def get_paginator(self, operation: str) -> "Pages":
        return Pages(PAGES[operation])


class Pages:
    """One page for every operation."""

    def __init__(self, page: dict[str, Any]) -> None:
        self._page = page

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        return [self._page]
