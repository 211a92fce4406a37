"""Alarms of a local target: the definitions of observability.yaml, and the way from an alarm to the remediation workflow.

CloudFormation of local targets has no alarms, and their alarms reach topics but not EventBridge. So the alarms are created through
CloudWatch's API, and `Bridge` replaces EventBridge: it starts the workflow with CloudWatch's event.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from devtools import template
from devtools.target import REGION, ROOT, STACK, Target

ACCOUNT = "000000000000"
BRIDGE = f"{STACK}-alarm-bridge"
# The parameters of PutMetricAlarm that the template's alarms have, besides names and dimensions.
_COPIED = (
    "AlarmDescription",
    "Namespace",
    "MetricName",
    "Statistic",
    "Period",
    "EvaluationPeriods",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
)


def described() -> Iterator[dict[str, Any]]:
    """Yield the template's alarms of one metric as parameters of PutMetricAlarm, without their actions."""
    for resource in template.source(ROOT / "observability.yaml")["Resources"].values():
        alarm = resource.get("Properties", {})
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "MetricName" in alarm and "Statistic" in alarm:
            yield {
                **{name: _text(alarm[name]) for name in _COPIED if name in alarm},
                "AlarmName": _text(alarm["AlarmName"]),
                "Dimensions": [{"Name": one["Name"], "Value": _text(one["Value"])} for one in alarm.get("Dimensions", ())],
            }


def _text(value: Any) -> Any:
    """Return a value of the template for the local stack."""
    known = {"StackName": STACK, "Stage": "local", "AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT}
    match value:
        case {"Fn::Sub": str() as text}:
            return re.sub(r"\$\{([\w:]+)\}", lambda found: known.get(found[1], STACK), text)
        case {"Ref": str() as name}:
            return known.get(name, name)
        case _:
            return value


class Bridge:
    """The local target's alarms, and their way to the remediation workflow."""

    def __init__(self, target: Target) -> None:
        """Create the alarms and the queue that receives their messages, or keep them."""
        self._target = target
        self._cloudwatch, self._sqs = target.client("cloudwatch"), target.client("sqs")
        self._topic = target.resources["Alarms"]
        existing = self.states()
        for alarm in described():
            if alarm["AlarmName"] not in existing:
                # Only these alarms have something to set back.
                recovered = [self._topic] if alarm["MetricName"] == "ApproximateAgeOfOldestMessage" else []
                self._cloudwatch.put_metric_alarm(**alarm, AlarmActions=[self._topic], OKActions=recovered)
        self._queue = self._subscribed()

    def _subscribed(self) -> str:
        url = self._sqs.create_queue(QueueName=BRIDGE)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        allowed = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
        self._sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allowed]})})
        self._target.client("sns").subscribe(
            TopicArn=self._topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}, ReturnSubscriptionArn=True
        )
        return url

    def states(self) -> dict[str, str]:
        """Return the state of every alarm by its name."""
        pages = self._cloudwatch.get_paginator("describe_alarms").paginate()
        return {alarm["AlarmName"]: alarm["StateValue"] for page in pages for alarm in page["MetricAlarms"]}

    def set_state(self, name: str, state: str, reason: str) -> None:
        """Set an alarm's state, as CloudWatch does from its metric. The emulator ignores dimensions, so it cannot distinguish queues."""
        self._cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason=reason)

    def forward(self, seconds: int = 1) -> list[str]:
        """Wait up to `seconds` for messages of alarms, start the workflow for each, and return the executions."""
        received = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=seconds)
        started: list[str] = []
        for message in received.get("Messages", []):
            event = event_of(message["MessageId"], message["Body"])
            if event and event["detail"]["state"]["value"] in ("ALARM", "OK"):
                started.append(self.start(event))
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return started

    def start(self, event: Mapping[str, Any]) -> str:
        """Start the workflow with an alarm's event, as its rule does, and return the execution."""
        workflows = self._target.client("stepfunctions")
        return workflows.start_execution(stateMachineArn=self._target.resources["Remediation"], input=json.dumps(event))["executionArn"]


def event_of(message_id: str, body: str) -> dict[str, Any] | None:
    """Return CloudWatch's event for the message that an alarm sends to its topic, or None for another message.

    Sources: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html for the event, and
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html for the message.
    """
    try:
        message: dict[str, Any] = json.loads(body)
        trigger, at = message["Trigger"], datetime.fromisoformat(message["StateChangeTime"]).isoformat()
        dimensions = {one.get("name") or one["Name"]: one.get("value") or one["Value"] for one in trigger["Dimensions"]}
    except (ValueError, KeyError, TypeError):
        return None
    metric = {"namespace": trigger["Namespace"], "name": trigger["MetricName"], "dimensions": dimensions}
    return {
        "version": "0",
        "id": message_id,
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "account": message["AWSAccountId"],
        "time": at,
        "region": REGION,
        "resources": [f"arn:aws:cloudwatch:{REGION}:{message['AWSAccountId']}:alarm:{message['AlarmName']}"],
        "detail": {
            "alarmName": message["AlarmName"],
            "configuration": {"metrics": [{"id": "m1", "metricStat": {"metric": metric}}]},
            "previousState": {"value": message["OldStateValue"]},
            "state": {"value": message["NewStateValue"], "reason": message["NewStateReason"], "timestamp": at},
        },
    }
