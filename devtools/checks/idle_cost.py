"""`make idle-cost ENV=prod`: what a stack costs in a month without a single order, item by item from the template.

List prices of devtools/prices.toml, without free tiers: those are an account's, not a stack's. ENV is an environment of
samconfig.toml, `default` (dev) unless given. A resource type is priced here, or listed as free with the reason; any other is an
error, so that no new type goes unnoticed.
"""

import os
import re
import tomllib
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rich.table import Table

from devtools import template, ui
from devtools.bench import page
from devtools.cli import UsageError, UserError
from devtools.target import ROOT

PRICES = ROOT / "devtools" / "prices.toml"
HOURS = 730.0
DAYS = HOURS / 24

# Lambda long-polls a queue, 20 seconds a request, with five pollers; it goes down to two on an idle queue, but not where
# MaximumConcurrency is set (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html).
POLL_SECONDS = 20
POLLERS = 2
POLLERS_OF_MAXIMUM_CONCURRENCY = 5
# Kinesis asks KMS for a data key about every five minutes, once for each role that reads or writes
# (https://docs.aws.amazon.com/streams/latest/dev/costs-performance.html).
DATA_KEY_SECONDS = 300

# What a scheduled run that finds nothing to do takes at most; a test runs each on empty tables. The hourly mark that LedgerAudit
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
}

DASHBOARDS = "dashboards beyond three"
FREE_DASHBOARDS = 3

RECORDED = {"dev": "default", "prod": "prod"}
_NOTE = """The cost of a stack without orders in a month of 730 hours, computed from the template with the parameters of samconfig.toml.
`make idle-cost` prints it for dev, `make idle-cost ENV=prod` for another environment. List prices
([prices.toml](../devtools/prices.toml)) without free tiers, which apply per account: the first million SQS requests, ten alarms and
20,000 KMS requests. Scheduled runs are assumed to take 0.2 seconds; a test runs each on empty tables and checks that it adds no custom
metric. An account's first three dashboards are free, which a stack in an account of its own has. Target: at most $15 for dev and $30
for prod ([decision 34](decisions/0034-pay-for-idle-capacity-only-where-it-protects.md))."""

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
    "AWS::SQS::Queue": "billed by request; what polls it is counted",
    "AWS::SQS::QueuePolicy": _NO_CHARGE,
    "AWS::StepFunctions::StateMachine": "billed by execution",
    "AWS::WAFv2::WebACLAssociation": _NO_CHARGE,
}

type Resources = Mapping[str, Mapping[str, Any]]
type Quantities = Iterator[tuple[str, float]]


@dataclass(frozen=True)
class Item:
    """A line of the sum: how much of what a month takes, and US dollars."""

    what: str
    quantity: float
    dollars: float


def environments(path: Path = ROOT / "samconfig.toml") -> dict[str, dict[str, str]]:
    """Return the template's parameters that each environment of samconfig.toml deploys with."""
    written: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    deploys: dict[str, dict[str, Any]] = {name: one["deploy"]["parameters"] for name, one in written.items() if name != "version"}
    return {name: dict(_override(text) for text in one.get("parameter_overrides", [])) for name, one in deploys.items()}


def _override(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def deployed(parameters: Mapping[str, str], path: Path = ROOT / "template.yaml") -> dict[str, dict[str, Any]]:
    """Return the resources that a template has with these parameters, `Fn::If` resolved, those of nested stacks included.

    Raises:
        UserError: a condition uses a function that is not known here.
    """
    source = template.source(path)
    translated = template.translated(parameters, path)
    values = {name: str(spec.get("Default", "")) for name, spec in translated.get("Parameters", {}).items()} | dict(parameters)
    conditions = _Conditions(translated.get("Conditions", {}), values)
    found: dict[str, dict[str, Any]] = {}
    for name, resource in translated["Resources"].items():
        if "Condition" in resource and not conditions.holds(resource["Condition"]):
            continue
        if resource["Type"] == "AWS::CloudFormation::Stack":
            given = conditions.resolved(resource["Properties"].get("Parameters", {}))
            child = {key: value for key, value in given.items() if isinstance(value, str)}
            nested = deployed(child, path.parent / source["Resources"][name]["Properties"]["TemplateURL"])
            found |= {f"{name}.{key}": value for key, value in nested.items()}
        else:
            found[name] = {"Type": resource["Type"], "Properties": conditions.resolved(resource.get("Properties", {}))}
    return found


class _Conditions:
    """Evaluates conditions and intrinsic functions of a template for given parameters."""

    def __init__(self, conditions: Mapping[str, Any], values: Mapping[str, str]) -> None:
        self._conditions = conditions
        self._values = values

    def holds(self, name: str) -> bool:
        return self._true(self._conditions[name])

    def _true(self, condition: Any) -> bool:
        match condition:
            case {"Fn::Equals": [left, right]}:
                return self._text(left) == self._text(right)
            case {"Fn::Not": [one]}:
                return not self._true(one)
            case {"Fn::And": several}:
                return all(map(self._true, several))
            case {"Fn::Or": several}:
                return any(map(self._true, several))
            case {"Condition": name}:
                return self.holds(name)
            case _:
                raise UserError(f"the condition {condition} is not understood here; teach devtools/checks/idle_cost.py its function")

    def _text(self, value: Any) -> str:
        match value:
            case {"Ref": name}:
                return self._values[name]
            case str() | int() | bool():
                return str(value)
            case _:
                raise UserError(f"{value} in a condition is not understood here; teach devtools/checks/idle_cost.py its function")

    def resolved(self, value: Any) -> Any:
        """Return a value with the branch of every `Fn::If` that is taken, and with parameters in place of references to them."""
        match value:
            case {"Fn::If": [name, yes, no]}:
                return self.resolved(yes if self.holds(name) else no)
            case {"Ref": name} if name in self._values:
                return self._values[name]
            case dict():
                members = {key: self.resolved(one) for key, one in cast("dict[str, Any]", value).items()}
                return {key: one for key, one in members.items() if one != {"Ref": "AWS::NoValue"}}
            case list():
                return [self.resolved(one) for one in cast("list[Any]", value) if one != {"Ref": "AWS::NoValue"}]
            case _:
                return value


def _alarm(_: str, alarm: Mapping[str, Any], __: Resources) -> Quantities:
    """An alarm costs by the metrics that it watches; expressions are free, but an anomaly band counts as two more metrics."""
    queries = alarm.get("Metrics", [])
    bands = sum(one.get("Expression", "").startswith("ANOMALY_DETECTION_BAND") for one in queries)
    yield "alarms, by metric", float(sum("MetricStat" in one for one in queries) + 2 * bands or 1)


def _stream(name: str, stream: Mapping[str, Any], resources: Resources) -> Quantities:
    if stream["StreamModeDetails"]["StreamMode"] != "PROVISIONED":
        raise UserError(f"{name}: an on-demand stream has another price by the hour; add it to devtools/checks/idle_cost.py")
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
    """Return how often a schedule runs in a month: of `rate(…)`, and of `cron(…)` that runs every day.

    Raises:
        UserError: it is a cron expression with days, months or years.
    """
    if rate := re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression):
        return DAYS * {"minute": 1440, "hour": 24, "day": 1}[rate[2]] / int(rate[1])
    cron = re.fullmatch(r"cron\((\S+) (\S+) (\S+) \* (\S+) \*\)", expression)
    if not cron or not {cron[3], cron[4]} <= {"*", "?"}:
        raise UserError(f"how often {expression} runs is not known here; teach devtools/checks/idle_cost.py")
    return DAYS * _times(cron[1], 60) * _times(cron[2], 24)


def _times(field: str, length: int) -> int:
    if field == "*":
        return length
    if step := re.fullmatch(r"(?:\*|0)/(\d+)", field):
        return -(-length // int(step[1]))
    return len(field.split(","))


def _function(name: str, function: Mapping[str, Any], _: Resources) -> Quantities:
    if "ProvisionedConcurrencyConfig" in function:
        raise UserError(f"{name}: provisioned concurrency costs by the hour; add it to devtools/checks/idle_cost.py")
    yield from ()


def _version(_: str, version: Mapping[str, Any], resources: Resources) -> Quantities:
    """Return the snapshot that Lambda keeps of a version with SnapStart; without, a version is free."""
    function = resources[version["FunctionName"]["Ref"]]["Properties"]
    if function.get("SnapStart", {}).get("ApplyOn") == "PublishedVersions":
        yield "snapshot GB-seconds", HOURS * 3600 * int(function["MemorySize"]) / 1024


def _table(name: str, table: Mapping[str, Any], _: Resources) -> Quantities:
    """On demand, a table is billed by request, and storage with its backups by gigabyte."""
    if table.get("BillingMode") != "PAY_PER_REQUEST":
        raise UserError(f"{name}: provisioned capacity costs by the hour; add it to devtools/checks/idle_cost.py")
    yield from ()


def _api_stage(name: str, stage: Mapping[str, Any], _: Resources) -> Quantities:
    """Without a cache a stage is billed by request. Detailed metrics are billed in hours in which a method was called."""
    if stage.get("CacheClusterEnabled"):
        raise UserError(f"{name}: a cache costs by the hour; add it to devtools/checks/idle_cost.py")
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


def rates(path: Path = PRICES) -> dict[str, float]:
    """Return dollars for one of each."""
    prices: dict[str, dict[str, float]] = tomllib.loads(path.read_text("utf-8"))
    million = 1_000_000
    requests = prices["sqs"]["requests_million"] / million
    return {
        "stream shard hours": prices["kinesis"]["shard_hour"],
        "alarms, by metric": prices["cloudwatch"]["alarm_month"],
        "composite alarms": prices["cloudwatch"]["composite_alarm_month"],
        DASHBOARDS: prices["cloudwatch"]["dashboard_month"],
        "KMS keys": prices["kms"]["key_month"],
        "KMS requests": prices["kms"]["requests_million"] / million,
        "secrets": prices["secretsmanager"]["secret_month"],
        f"SQS requests of {POLLERS} pollers a queue": requests,
        f"SQS requests of {POLLERS_OF_MAXIMUM_CONCURRENCY} pollers a queue": requests,
        "scheduler invocations": prices["scheduler"]["invocations_million"] / million,
        "Lambda requests": prices["lambda"]["requests_million"] / million,
        "Lambda GB-seconds": prices["lambda"]["gb_second"],
        "snapshot GB-seconds": prices["lambda"]["snapshot_gb_second"],
        "DynamoDB read units": prices["dynamodb"]["read_units_million"] / million,
        "log bytes": prices["logs"]["ingested_gb"] / 1024**3,
        "X-Ray traces": prices["xray"]["traces_million"] / million,
        "web ACLs": prices["waf"]["acl_month"],
        "web ACL rules": prices["waf"]["rule_month"],
    }


def bill(resources: Resources) -> list[Item]:
    """Return what a month costs, dearest first.

    Raises:
        UserError: a resource's type is neither priced nor known to be free, or it is of a kind that is not.
    """
    sums: dict[str, float] = {}
    for name, resource in resources.items():
        if price := PRICED.get(resource["Type"]):
            for what, quantity in price(name, resource["Properties"], resources):
                sums[what] = sums.get(what, 0.0) + quantity
        elif resource["Type"] not in FREE:
            raise UserError(f"{name}: what {resource['Type']} costs is not known; add it to PRICED or FREE in devtools/checks/idle_cost.py")
    if DASHBOARDS in sums:
        sums[DASHBOARDS] = max(0.0, sums[DASHBOARDS] - FREE_DASHBOARDS)
    of_one = rates()
    return sorted((Item(what, quantity, quantity * of_one[what]) for what, quantity in sums.items()), key=lambda item: -item.dollars)


def total(items: list[Item]) -> float:
    """Return the dollars of all items."""
    return sum(item.dollars for item in items)


def part() -> str:
    """Return this part of docs/performance.md: the sums of dev and prod side by side."""
    bills = {name: {item.what: item for item in bill(deployed(environments()[env]))} for name, env in RECORDED.items()}
    lines = {what: None for one in bills.values() for what in one}
    rows = [
        (
            what,
            *(
                text
                for one in bills.values()
                for text in ((f"{one[what].quantity:,.0f}", f"{one[what].dollars:.2f}") if what in one else ("", ""))
            ),
        )
        for what in lines
    ]
    sums = [text for one in bills.values() for text in ("", f"{total(list(one.values())):.2f}")]
    columns = ("item", *(text for name in bills for text in (f"{name}, a month", f"{name}, $")))
    return f"## Without orders\n\n{_NOTE}\n\n{page.table(columns, [*rows, ('total', *sums)])}"


def main(arguments: Namespace) -> None:
    """Print the sum of an environment, and which resource types are free while idle; with RECORD=1 write docs/performance.md."""
    if arguments.record:
        page.write(page.IDLE, part())
        ui.console.print(f"  wrote {page.DOCUMENT.relative_to(ROOT)}")
        return
    known = environments()
    env = arguments.env or os.environ.get("ENV") or "default"
    if env not in known:
        raise UsageError(f"ENV must be an environment of samconfig.toml ({', '.join(known)}), not {env!r}")
    resources = deployed(known[env])
    items = bill(resources)
    table = Table(title=f"{env}: a month without orders", title_justify="left", title_style="bold", show_footer=True)
    table.add_column("item", "total")
    table.add_column("a month", justify="right")
    table.add_column("$", f"{total(items):.2f}", justify="right")
    for item in items:
        table.add_row(item.what, f"{item.quantity:,.0f}", f"{item.dollars:.2f}")
    ui.console.print(table)
    types = {resource["Type"] for resource in resources.values()}
    for reason in sorted({FREE[kind] for kind in types if kind in FREE}):
        kinds = ", ".join(kind.removeprefix("AWS::") for kind in sorted(types) if FREE.get(kind) == reason)
        ui.console.print(f"  {reason}: {kinds}", style="dim")
