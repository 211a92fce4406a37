"""Write observability.yaml, the nested stack that is deployed on AWS only."""

from __future__ import annotations

import re
from typing import Any

import yaml

from devtools.monitoring import alarms, dashboard_widgets, queries
from devtools.monitoring.model import Alarm, Group, Series

RUNBOOKS = "docs/runbooks.md"
_HEADER = """# Written by `make observability` from the description in devtools/monitoring: change that.
"""
PARAMETERS = {
    "StackName": "Name of the monitored stack, the prefix of its resources.",
    "Stage": "Stage of the monitored API.",
    "AlarmTopic": "Topic that alarms notify.",
    "HasAlarms": "Whether alarms and dashboards exist: true or false.",
    "ApiLogs": "Access log of the API.",
    "OrderLog": "Table of the order log.",
    "AuditCatalogue": "Glue database of the audit archive.",
    "AuditQueries": "Athena workgroup of the audit archive.",
}


def document() -> str:
    """Return the file."""
    found = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Alarms, dashboards and saved queries of the order pipeline. A nested stack of template.yaml, deployed on AWS only.",
        "Parameters": {name: {"Type": "String", "Description": text} for name, text in PARAMETERS.items()}
        | {
            # A description has no link to a repository of its own: set the address of yours here.
            "Runbooks": {"Type": "String", "Default": RUNBOOKS, "Description": "Address of the runbooks, which alarms link to."}
        },
        "Conditions": {
            "HasAlarms": {"Fn::Equals": [{"Ref": "HasAlarms"}, "true"]},
            # A shop in production gets orders in every hour; a stage for trials does not.
            "SellsAlways": {"Fn::And": [{"Condition": "HasAlarms"}, {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}]},
        },
        "Resources": resources(),
        "Outputs": outputs(),
    }
    return _HEADER + yaml.dump(found, Dumper=_Dumper, sort_keys=False, width=108, default_flow_style=None, allow_unicode=True)


def resources() -> dict[str, Any]:
    """Return the resources: metric filters, alarms and their groups."""
    found: dict[str, Any] = dict(_metric_filters())
    found |= {alarm.id: _alarm(alarm) for alarm in alarms.every_alarm()}
    found["OrderVolumeDetector"] = _detector()
    found |= {group.id: _group(group) for group in alarms.GROUPS}
    return found | dashboard_widgets.resources() | queries.resources()


def outputs() -> dict[str, Any]:
    """Return the alarms that other resources watch: AppConfig takes ARNs, CodeDeploy names."""
    arns = ("FraudScreenErrorsAlarm", "PaymentsAuthorizeErrorsAlarm")
    names = ("ReleaseApiFaultsAlarm", "ReleaseStepErrorsAlarm")
    return {name: {"Condition": "HasAlarms", "Value": {"Fn::GetAtt": [name, "Arn"]}} for name in arns} | {
        name: {"Condition": "HasAlarms", "Value": {"Ref": name}} for name in names
    }


def _metric_filters() -> dict[str, Any]:
    place = '($.method = "POST") && ($.route = "/orders")'
    # The access log quotes numbers, so the text is compared: three seconds and more (decision 61). The repetition {3} is not documented.
    slow = "%^[3-9][0-9][0-9][0-9]$|^[0-9][0-9][0-9][0-9][0-9]%"
    patterns = {
        "PlaceRequests": f"{{ {place} }}",
        "PlaceFaults": f'{{ {place} && ($.status = "5*") }}',
        "PlaceSlow": f"{{ {place} && ($.latency_ms = {slow}) }}",
    }
    return {
        name: {
            "Type": "AWS::Logs::MetricFilter",
            "Properties": {
                "LogGroupName": {"Ref": "ApiLogs"},
                "FilterPattern": pattern,
                # Other lines count as 0, so that a share has a value wherever there are requests.
                "MetricTransformations": [
                    {"MetricNamespace": _sub("OrderPipeline/${StackName}"), "MetricName": name, "MetricValue": "1", "DefaultValue": 0}
                ],
            },
        }
        for name, pattern in patterns.items()
    }


def _detector() -> dict[str, Any]:
    """Return the model of the usual volume, so that it learns from the stack's first day."""
    [volume] = [alarm for alarm in alarms.every_alarm() if alarm.id == "OrderVolumeAlarm"]
    series = volume.series["value"]
    return {
        "Type": "AWS::CloudWatch::AnomalyDetector",
        "Condition": "HasAlarms",
        "Properties": {"Namespace": _sub(series.namespace), "MetricName": series.metric, "Stat": series.stat},
    }


def _alarm(alarm: Alarm) -> dict[str, Any]:
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Condition": alarm.condition,
        "Properties": {
            "AlarmName": _sub(f"${{StackName}}-{alarm.name}"),
            "AlarmDescription": _sub(f"{alarm.meaning} Runbook: ${{Runbooks}}#{alarm.runbook}"),
            **_watched(alarm),
            "EvaluationPeriods": alarm.periods,
            **({"DatapointsToAlarm": alarm.of} if alarm.of else {}),
            "ComparisonOperator": alarm.comparison,
            "TreatMissingData": alarm.missing,
        },
    }


def _watched(alarm: Alarm) -> dict[str, Any]:
    if not alarm.expression:
        [series] = alarm.series.values()
        statistic = "Statistic" if series.stat in _STATISTICS else "ExtendedStatistic"
        return {**_metric(series), statistic: series.stat, "Period": alarm.period, "Threshold": alarm.threshold}
    queries = [
        {
            "Id": name,
            "ReturnData": alarm.expression.startswith("ANOMALY"),
            "MetricStat": {"Stat": series.stat, "Period": alarm.period, "Metric": _metric(series)},
        }
        for name, series in alarm.series.items()
    ]
    if alarm.expression.startswith("ANOMALY"):
        return {"Metrics": [{"Id": "usual", "Expression": alarm.expression, "ReturnData": True}, *queries], "ThresholdMetricId": "usual"}
    return {"Metrics": [{"Id": "watched", "Expression": alarm.expression, "ReturnData": True}, *queries], "Threshold": alarm.threshold}


_STATISTICS = frozenset({"SampleCount", "Average", "Sum", "Minimum", "Maximum"})


def _metric(series: Series) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": _sub(value)} for name, value in series.dimensions]
    return {"Namespace": _sub(series.namespace), "MetricName": series.metric, "Dimensions": dimensions}


def _group(group: Group) -> dict[str, Any]:
    return {
        "Type": "AWS::CloudWatch::CompositeAlarm",
        "Condition": "HasAlarms",
        "Properties": {
            "AlarmName": _sub(f"${{StackName}}-{group.name}"),
            "AlarmDescription": _sub(f"{group.meaning} Its alarms in ALARM state show the cause. Runbook: ${{Runbooks}}#{group.name}"),
            "AlarmRule": {"Fn::Join": [" OR ", [_rule(*part) for part in group.rules]]},
            "AlarmActions": [{"Ref": "AlarmTopic"}],
            "OKActions": [{"Ref": "AlarmTopic"}],
        },
    }


def _rule(text: str, condition: str) -> Any:
    return _sub(text) if condition == "HasAlarms" else {"Fn::If": [condition, _sub(text), "FALSE"]}


def _sub(text: str) -> Any:
    """Return a text with its references resolved by CloudFormation, in the simplest form."""
    if named := re.fullmatch(r"\$\{(\w+)\}", text):
        return {"Ref": named[1]}
    return {"Fn::Sub": text} if "${" in text else text


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and no anchors, which CloudFormation refuses."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - none is wanted
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)  # pyright: ignore[reportUnknownMemberType]


_Dumper.add_representer(str, _text)
