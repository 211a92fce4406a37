"""`make drill`: every drill belongs to an alarm and a runbook; an alarm's message becomes CloudWatch's event."""

from __future__ import annotations

import json
import re

import pytest

from devtools.cli import UsageError
from devtools.local import alarms, drill
from devtools.local.drills import DRILLS
from devtools.target import ROOT
from operations.domain import alarm_signals

MESSAGE = {
    "AlarmName": "order-pipeline-mail-dead-letters",
    "AWSAccountId": "000000000000",
    "NewStateValue": "ALARM",
    "NewStateReason": "Threshold Crossed",
    "OldStateValue": "OK",
    "StateChangeTime": "2026-11-21T12:00:00.000Z",
    "Trigger": {
        "MetricName": "ApproximateNumberOfMessagesVisible",
        "Namespace": "AWS/SQS",
        "Dimensions": [{"name": "QueueName", "value": "order-pipeline-mail-dead-letters"}],
    },
}


def test_every_drill_has_an_alarm_of_the_template() -> None:
    known = {alarm["AlarmName"] for alarm in alarms.described()}

    assert {f"order-pipeline-{one.alarm}" for one in DRILLS} <= known


def test_every_drill_has_a_section_of_the_runbooks() -> None:
    sections = set(re.findall(r"^## (\S+)$", (ROOT / "docs/runbooks.md").read_text("utf-8"), re.MULTILINE))

    assert {one.runbook for one in DRILLS} <= sections


def test_expected_faults_are_drilled() -> None:
    assert [one.name for one in DRILLS] == ["consumer", "poison", "saga", "provider", "flag", "release", "stream"]


def test_one_drill_is_chosen_by_its_name() -> None:
    assert [one.name for one in drill.chosen("poison")] == ["poison"]
    assert drill.chosen("") == DRILLS


def test_unknown_drill_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="consumer, poison, saga"):
        drill.chosen("fire")


@pytest.mark.parametrize("names", [("name", "value"), ("Name", "Value")])
def test_alarms_message_becomes_cloudwatchs_event(names: tuple[str, str]) -> None:
    dimension = dict(zip(names, ("QueueName", "order-pipeline-mail-dead-letters"), strict=True))
    message = MESSAGE | {"Trigger": {**MESSAGE["Trigger"], "Dimensions": [dimension]}}  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]

    event = alarms.event_of("id-1", json.dumps(message))

    assert event
    assert (event["id"], event["detail-type"], event["source"]) == ("id-1", "CloudWatch Alarm State Change", "aws.cloudwatch")
    found = alarm_signals.alarm_of(event["detail"])
    assert (found.name, found.state) == ("order-pipeline-mail-dead-letters", "ALARM")
    assert alarm_signals.signal_of(found, "order-pipeline") == alarm_signals.Signal("dead_letters", "mail")


@pytest.mark.parametrize("body", ["order-pipeline-mail: redrive on mail", "{}", json.dumps(MESSAGE | {"Trigger": None})])
def test_other_messages_of_the_topic_are_no_alarms(body: str) -> None:
    assert alarms.event_of("id-1", body) is None


def test_described_alarms_have_no_unresolved_names() -> None:
    text = json.dumps(list(alarms.described()))

    assert "${" not in text
    assert "Fn::" not in text
