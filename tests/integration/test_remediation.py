"""Alarms of the deployed stack start automatic remediation, which acts once and is in the archive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from devtools.local.alarms import Bridge
from devtools.ops.flags import FlagStore
from tests.integration.deployed_stack import DeployedStack, eventually
from tests.support import contracts

pytestmark = pytest.mark.needs("flags", "archive", "alarm states")

MAIL_ALARM = "order-pipeline-mail-dead-letters"
TRACK_ALARM = "order-pipeline-shipping-track-age"
LEDGER_ALARM = "order-pipeline-ledger-difference"
THROTTLED = {
    name: {"DataType": "String", "StringValue": value}
    for name, value in {"RULE_ARN": "arn:aws:events:us-east-1:000000000000:rule/x", "ERROR_CODE": "THROTTLING"}.items()
}


@pytest.fixture(scope="module")
def bridge(stack: DeployedStack) -> Bridge:
    """The alarms of the stack."""
    return Bridge(stack.target)


@pytest.fixture
def alarm(stack: DeployedStack, bridge: Bridge) -> Iterator[Any]:
    """Make an alarm fire and return the execution's output; afterwards reset the alarms and the cool-down."""
    used: set[str] = set()

    def fire(name: str, **event: Any) -> dict[str, Any]:
        used.add(name)
        bridge.set_state(name, "ALARM", "test")
        [execution] = eventually(bridge.forward, within=stack.patience, what=f"{name} is forwarded")
        return ended(stack, execution)

    yield fire
    for name in used:
        bridge.set_state(name, "OK", "test")
    eventually(lambda: bridge.forward() == [], within=stack.patience, what="all alarms are forwarded")
    for item in stack.scan("Remediations"):
        stack.dynamodb.delete_item(TableName=stack.table("Remediations"), Key={"claim": item["claim"]})


def ended(stack: DeployedStack, execution: str) -> dict[str, Any]:
    """Return the input and output of an execution that has succeeded."""
    client = stack.target.client("stepfunctions")
    found = eventually(
        lambda: client.describe_execution(executionArn=execution),
        lambda one: one["status"] != "RUNNING",
        within=stack.patience,
        what="the remediation ends",
    )
    assert found["status"] == "SUCCEEDED", found
    return json.loads(found["output"]) | {"execution": execution}


def archived(stack: DeployedStack, execution: str) -> dict[str, Any]:
    """Return the event of an execution as the audit archive has it."""
    s3, bucket = stack.target.client("s3"), stack.target.resources["AuditArchive"]

    def look() -> list[dict[str, Any]]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="events/")
        keys = [one["Key"] for page in pages for one in page.get("Contents", []) if "type=Remediation" in one["Key"]]
        bodies = [s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys]
        events = [json.loads(line) for body in bodies for line in body.splitlines()]
        return [event for event in events if event["correlation_id"] == execution]

    [event] = eventually(look, within=stack.patience, what="the event is in the audit archive")
    assert contracts.problems(event) == []
    return event


def dead_letter(stack: DeployedStack, **attributes: Any) -> str:
    """Put an email without a recipient's order into its dead-letter queue, and return its text."""
    body = json.dumps({"detail-type": "ShipmentLost", "detail": {"type": "ShipmentLost", "nonce": uuid4().hex}})
    stack.target.client("sqs").send_message(
        QueueUrl=stack.target.resources["MailDeadLetters"], MessageBody=body, MessageAttributes=attributes
    )
    return body


def test_throttled_dead_letter_is_redriven_once(stack: DeployedStack, bridge: Bridge, alarm: Any) -> None:
    body = dead_letter(stack, **THROTTLED)

    output = alarm(MAIL_ALARM)

    event = archived(stack, output["execution"])
    assert (event["type"], event["data"]["after"]) == ("RemediationPerformed", {"moved": 1, "failed": 0})
    assert body not in stack.peek("MailDeadLetters")
    again = ended(stack, bridge.start(output["alarm"]))
    assert again["decided"]["value"]["outcome"] == "duplicate"


def test_dead_letter_of_unknown_cause_is_not_redriven(stack: DeployedStack, alarm: Any) -> None:
    body = dead_letter(stack)
    try:
        event = archived(stack, alarm(MAIL_ALARM)["execution"])

        assert event["type"] == "RemediationRefused"
        assert event["data"]["refusals"] == [{"reason": "cause_unknown", "action": "redrive"}]
        assert body in stack.peek("MailDeadLetters")
    finally:
        stack.target.client("sqs").purge_queue(QueueUrl=stack.target.resources["MailDeadLetters"])


def test_wrong_ledger_holds_every_order(stack: DeployedStack, alarm: Any, flag_store: FlagStore) -> None:
    event = archived(stack, alarm(LEDGER_ALARM)["execution"])

    assert (event["data"]["action"], event["data"]["after"]["hold_every_order"]) == ("hold_orders", True)
    assert flag_store.served().document["hold_every_order"] is True
    assert flag_store.served().version == event["data"]["after"]["flags"]


def test_recent_change_of_flags_is_rolled_back(stack: DeployedStack, alarm: Any, flag_store: FlagStore) -> None:
    flag_store.deploy({"hold_countries": ["BV"]}, immediate=True)
    before = flag_store.served()
    flag_store.deploy({"hold_countries": ["BV"], "fraud": {"hold_score": 1}}, immediate=True)

    event = archived(stack, alarm("order-pipeline-payments-authorize-errors")["execution"])

    assert event["data"]["action"] == "roll_back_flags"
    assert flag_store.served().document == before.document


@pytest.fixture
def slow_consumer(stack: DeployedStack) -> Iterator[Callable[[], int]]:
    """Let a reading wait for a consumer of four, and return its present concurrency; afterwards the consumer works again."""
    functions, url = stack.target.client("lambda"), stack.target.resources["ShippingTrackQueue"]
    [mapping] = functions.list_event_source_mappings(FunctionName=stack.target.resources["ShippingTrack"])["EventSourceMappings"]

    def switch(state: str) -> None:
        scaling = {"MaximumConcurrency": 4}
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=state == "Enabled", ScalingConfig=scaling)
        eventually(lambda: read()["State"] == state, within=stack.patience, what=f"the consumer is {state.lower()}")

    def read() -> dict[str, Any]:
        return functions.get_event_source_mapping(UUID=mapping["UUID"])

    switch("Disabled")
    stack.target.client("sqs").send_message(QueueUrl=url, MessageBody="{}")
    yield lambda: read()["ScalingConfig"]["MaximumConcurrency"]
    stack.target.client("sqs").purge_queue(QueueUrl=url)
    switch("Enabled")


def test_raised_concurrency_is_set_back_when_the_alarm_is_ok(
    stack: DeployedStack, bridge: Bridge, alarm: Any, slow_consumer: Callable[[], int]
) -> None:
    assert archived(stack, alarm(TRACK_ALARM)["execution"])["data"]["action"] == "raise_concurrency"
    assert slow_consumer() == 8

    bridge.set_state(TRACK_ALARM, "OK", "test")
    [execution] = eventually(bridge.forward, within=stack.patience, what="the alarm that is over is forwarded")

    assert archived(stack, ended(stack, execution)["execution"])["data"] | {"alarm": {}} == {
        "alarm": {},
        "action": "restore_concurrency",
        "target": "shipping-track",
        "before": {"maximum_concurrency": 8},
        "after": {"maximum_concurrency": 4},
    }
    assert slow_consumer() == 4


def test_flag_switches_remediation_off(stack: DeployedStack, alarm: Any, flag_store: FlagStore) -> None:
    flag_store.deploy(flag_store.served().document | {"remediation": False}, immediate=True)

    event = archived(stack, alarm(LEDGER_ALARM)["execution"])

    assert event["data"]["refusals"] == [{"reason": "switched_off", "action": "any"}]
    assert not flag_store.served().document.get("hold_every_order")
