"""The price of each resource type in a month without orders: computed from its properties, or free with the reason."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from devtools import prices
from devtools.cli import UserError

HOURS = 730.0
DAYS = HOURS / 24

# Lambda long-polls a queue, 20 seconds a request, with five pollers; it reduces them to two on an idle queue, unless
# MaximumConcurrency is set (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html).
POLL_SECONDS = 20
POLLERS = 2
POLLERS_OF_MAXIMUM_CONCURRENCY = 5
# Kinesis asks KMS for a data key about every five minutes, once for each role that reads or writes
# (https://docs.aws.amazon.com/streams/latest/dev/costs-performance.html).
DATA_KEY_SECONDS = 300

# The maximum of a scheduled run without work; a test runs each on empty tables. The hourly position that LedgerAudit
# writes costs less than a cent a month.
RUN_SECONDS = 0.2
RUN_LOG_BYTES = 450
RUN_READ_UNITS = {
    "AnalyticsAggregate": 1.0,
    "InventoryExpire": 8.0,
    "InventoryReconcile": 1.0,
    "LedgerAudit": 20.0,
    "OperationsReconcile": 1.0,
    "OperationsRecover": 8.0,  # every fifteenth run; the others read half of it
    "PaymentsReconcile": 2.0,
    "ShippingCheck": 0.5,
}

DASHBOARDS = "dashboards beyond three"
FREE_DASHBOARDS = 3

_NO_CHARGE = "no charge"
FREE: dict[str, str] = {
    "AWS::ApiGateway::Account": _NO_CHARGE,
    "AWS::ApiGateway::Deployment": _NO_CHARGE,
    "AWS::ApiGateway::RestApi": "billed by request",
    "AWS::AppConfig::Application": "billed by request",
    "AWS::AppConfig::ConfigurationProfile": _NO_CHARGE,
    "AWS::AppConfig::Deployment": _NO_CHARGE,
    "AWS::AppConfig::DeploymentStrategy": _NO_CHARGE,
    "AWS::AppConfig::Environment": _NO_CHARGE,
    "AWS::AppConfig::HostedConfigurationVersion": _NO_CHARGE,
    "AWS::Athena::NamedQuery": _NO_CHARGE,
    "AWS::Athena::WorkGroup": "billed by byte scanned",
    "AWS::CodeDeploy::Application": "shifting traffic between versions of a function is free",
    "AWS::CodeDeploy::DeploymentGroup": "shifting traffic between versions of a function is free",
    "AWS::CloudWatch::AnomalyDetector": "its alarm is billed",
    "AWS::Cognito::UserPool": "billed by active user",
    "AWS::Cognito::UserPoolClient": _NO_CHARGE,
    "AWS::Cognito::UserPoolGroup": _NO_CHARGE,
    "AWS::EventSchemas::Registry": _NO_CHARGE,
    "AWS::EventSchemas::Schema": _NO_CHARGE,
    "AWS::Events::Archive": "billed by gigabyte",
    "AWS::Events::EventBus": "billed by event",
    "AWS::Events::Rule": _NO_CHARGE,
    "AWS::Glue::Database": "a million objects are free",
    "AWS::Glue::Table": "a million objects are free",
    "AWS::IAM::ManagedPolicy": _NO_CHARGE,
    "AWS::IAM::Role": _NO_CHARGE,
    "AWS::KinesisFirehose::DeliveryStream": "billed by gigabyte",
    "AWS::Lambda::Alias": _NO_CHARGE,
    "AWS::Lambda::EventInvokeConfig": _NO_CHARGE,
    "AWS::Lambda::LayerVersion": _NO_CHARGE,
    "AWS::Lambda::Permission": _NO_CHARGE,
    "AWS::Lambda::Url": _NO_CHARGE,
    "AWS::Logs::LogGroup": "billed by gigabyte",
    "AWS::Logs::LogStream": _NO_CHARGE,
    "AWS::Logs::MetricFilter": "its metric is billed in hours in which a line matched",
    "AWS::Logs::QueryDefinition": "billed by gigabyte scanned",
    "AWS::S3::Bucket": "billed by gigabyte and request",
    "AWS::S3::BucketPolicy": _NO_CHARGE,
    "AWS::SNS::Subscription": _NO_CHARGE,
    "AWS::SNS::Topic": "billed by message",
    "AWS::SNS::TopicPolicy": _NO_CHARGE,
    "AWS::SQS::Queue": "billed by request; its pollers are counted",
    "AWS::SQS::QueuePolicy": _NO_CHARGE,
    "AWS::StepFunctions::StateMachine": "billed by execution",
    "AWS::WAFv2::WebACLAssociation": _NO_CHARGE,
    "AWS::XRay::SamplingRule": "traces are billed by request",
}

type Resources = Mapping[str, Mapping[str, Any]]
type Quantities = Iterator[tuple[str, float]]


def _alarm(_: str, alarm: Mapping[str, Any], __: Resources) -> Quantities:
    """An alarm costs by the metrics that it watches; expressions are free, but an anomaly band counts as two more metrics."""
    queries = alarm.get("Metrics", [])
    bands = sum(one.get("Expression", "").startswith("ANOMALY_DETECTION_BAND") for one in queries)
    yield "alarms, by metric", float(sum("MetricStat" in one for one in queries) + 2 * bands or 1)


def _stream(name: str, stream: Mapping[str, Any], resources: Resources) -> Quantities:
    if stream["StreamModeDetails"]["StreamMode"] != "PROVISIONED":
        raise UserError(f"{name}: an on-demand stream has another price by the hour; add it to devtools/checks/idle_prices.py")
    yield "stream shard hours", HOURS * int(stream["ShardCount"])
    if "StreamEncryption" in stream:
        sources = [one["Properties"].get("EventSourceArn") for one in resources.values()]
        sources += [one["Properties"].get("KinesisStreamSourceConfiguration", {}).get("KinesisStreamARN") for one in resources.values()]
        readers = sources.count({"Fn::GetAtt": [name, "Arn"]})
        yield "KMS requests", (1 + readers) * HOURS * 3600 / DATA_KEY_SECONDS


def _mapping(_: str, mapping: Mapping[str, Any], resources: Resources) -> Quantities:
    match mapping["EventSourceArn"]:
        case {"Fn::GetAtt": [queue, "Arn"]} if resources[queue]["Type"] == "AWS::SQS::Queue":
            bound = "MaximumConcurrency" in mapping.get("ScalingConfig", {})
            pollers = POLLERS_OF_MAXIMUM_CONCURRENCY if bound else POLLERS
            yield f"SQS requests of {pollers} pollers a queue", pollers * HOURS * 3600 / POLL_SECONDS
        case _:  # Reading a stream is free.
            return


def _schedule(_: str, schedule: Mapping[str, Any], resources: Resources) -> Quantities:
    runs = runs_a_month(schedule["ScheduleExpression"])
    target: str = schedule["Target"]["Arn"]["Fn::GetAtt"][0]
    function = resources[target]["Properties"]
    yield "scheduler invocations", runs
    yield "Lambda requests", runs
    yield "Lambda GB-seconds", runs * RUN_SECONDS * int(function["MemorySize"]) / 1024
    yield "log bytes", runs * RUN_LOG_BYTES
    yield "DynamoDB read units", runs * RUN_READ_UNITS[target]
    # Lambda traces the first untraced invocation of every second, which a scheduled run always is
    # (https://docs.aws.amazon.com/xray/latest/devguide/xray-services-lambda.html).
    if function["TracingConfig"]["Mode"] == "Active":
        yield "X-Ray traces", runs


def runs_a_month(expression: str) -> float:
    """Return how often a schedule runs in a month: `rate(…)`, or `cron(…)` for every day.

    Raises:
        UserError: it is a cron expression with days, months or years.
    """
    if rate := re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression):
        return DAYS * {"minute": 1440, "hour": 24, "day": 1}[rate[2]] / int(rate[1])
    cron = re.fullmatch(r"cron\((\S+) (\S+) (\S+) \* (\S+) \*\)", expression)
    if not cron or not {cron[3], cron[4]} <= {"*", "?"}:
        raise UserError(f"the schedule {expression} is not supported; add it to devtools/checks/idle_prices.py")
    return DAYS * _times(cron[1], 60) * _times(cron[2], 24)


def _times(field: str, length: int) -> int:
    if field == "*":
        return length
    if step := re.fullmatch(r"(?:\*|0)/(\d+)", field):
        return -(-length // int(step[1]))
    return len(field.split(","))


def _function(name: str, function: Mapping[str, Any], _: Resources) -> Quantities:
    if "ProvisionedConcurrencyConfig" in function:
        raise UserError(f"{name}: provisioned concurrency costs by the hour; add it to devtools/checks/idle_prices.py")
    yield from ()


def _version(_: str, version: Mapping[str, Any], resources: Resources) -> Quantities:
    """Return the snapshot that Lambda keeps of a version with SnapStart; without, a version is free."""
    function = resources[version["FunctionName"]["Ref"]]["Properties"]
    if function.get("SnapStart", {}).get("ApplyOn") == "PublishedVersions":
        yield "snapshot GB-seconds", HOURS * 3600 * int(function["MemorySize"]) / 1024


def _table(name: str, table: Mapping[str, Any], _: Resources) -> Quantities:
    """On demand, a table is billed by request, and storage with its backups by gigabyte."""
    if table.get("BillingMode") != "PAY_PER_REQUEST":
        raise UserError(f"{name}: provisioned capacity costs by the hour; add it to devtools/checks/idle_prices.py")
    yield from ()


def _api_stage(name: str, stage: Mapping[str, Any], _: Resources) -> Quantities:
    """Without a cache a stage is billed by request. Detailed metrics are billed in hours in which a method was called."""
    if stage.get("CacheClusterEnabled"):
        raise UserError(f"{name}: a cache costs by the hour; add it to devtools/checks/idle_prices.py")
    yield from ()


def _web_acl(_: str, acl: Mapping[str, Any], __: Resources) -> Quantities:
    yield "web ACLs", 1.0
    yield "web ACL rules", float(len(acl["Rules"]))


def _one(what: str) -> Callable[[str, Mapping[str, Any], Resources], Quantities]:
    def once(_: str, __: Mapping[str, Any], ___: Resources) -> Quantities:
        yield what, 1.0

    return once


PRICED: dict[str, Callable[[str, Mapping[str, Any], Resources], Quantities]] = {
    "AWS::ApiGateway::Stage": _api_stage,
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::CompositeAlarm": _one("composite alarms"),
    "AWS::CloudWatch::Dashboard": _one(DASHBOARDS),
    "AWS::DynamoDB::Table": _table,
    "AWS::KMS::Key": _one("KMS keys"),
    "AWS::Kinesis::Stream": _stream,
    "AWS::Lambda::EventSourceMapping": _mapping,
    "AWS::Lambda::Function": _function,
    "AWS::Lambda::Version": _version,
    "AWS::Scheduler::Schedule": _schedule,
    "AWS::SecretsManager::Secret": _one("secrets"),
    "AWS::WAFv2::WebACL": _web_acl,
}


def rates() -> dict[str, float]:
    """Return the price of one unit of each item, in US dollars."""
    known = prices.rates()
    return known | {
        DASHBOARDS: known["dashboards"],
        "Lambda requests": known["invocations"],
        f"SQS requests of {POLLERS} pollers a queue": known["SQS requests"],
        f"SQS requests of {POLLERS_OF_MAXIMUM_CONCURRENCY} pollers a queue": known["SQS requests"],
    }
