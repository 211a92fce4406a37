"""The cost of a stack without orders, and the assumptions of its estimate."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest

from devtools import environments
from devtools.bench import page
from devtools.checks import idle_cost, idle_prices
from devtools.cli import UserError
from devtools.commands import parsed
from devtools.target import ROOT
from tests.contract.stack import Stack, referred
from tests.contract.test_template import SHIPPED_FUNCTIONS
from tests.fakes.aws.dynamodb import FakeDynamoDB
from tests.fakes.aws.environment import TABLES, Aws
from tests.support.guidance import require_same

DEV_DOLLARS, PROD_DOLLARS = 15.0, 30.0
# The polls of its queues and the alarm of its dead letters.
DOLLARS_PER_CONSUMER = 0.5
STRIPE = {"StripeSecretArn": "arn:aws:secretsmanager:us-east-1:000000000000:secret:stripe"}


def dollars(parameters: dict[str, str]) -> float:
    return idle_cost.total(idle_cost.bill(environments.deployed(parameters)))


def scheduled(stack: Stack) -> Iterator[tuple[str, str, Any]]:
    """Yield every scheduled function with its handler and input."""
    for schedule in stack.of("Scheduler::Schedule").values():
        function = referred(schedule["Target"]["Arn"])
        yield function, stack.of("Lambda::Function")[function]["Handler"], json.loads(schedule["Target"]["Input"])


@pytest.mark.parametrize(("env", "most"), [("default", DEV_DOLLARS), ("prod", PROD_DOLLARS)])
def test_idle_stack_stays_below_its_limit(env: str, most: float, stack: Stack) -> None:
    added = max(0, len(stack.of("Lambda::Function")) - SHIPPED_FUNCTIONS)
    assert dollars(environments.parameters()[env]) <= most + added * DOLLARS_PER_CONSUMER


def test_three_dashboards_are_free_and_composite_alarms_are_not() -> None:
    def cost(**counts: int) -> float:
        types = [(kind, number) for kind, count in counts.items() for number in range(count)]
        return idle_cost.total(
            idle_cost.bill({f"{kind}{number}": {"Type": f"AWS::CloudWatch::{kind}", "Properties": {}} for kind, number in types})
        )

    assert (cost(Dashboard=3), cost(Dashboard=5), cost(CompositeAlarm=2)) == (0, 6, 1)


def test_anomaly_band_costs_as_much_as_two_more_metrics() -> None:
    queries = [{"Id": "usual", "Expression": "ANOMALY_DETECTION_BAND(value, 2)"}, {"Id": "value", "MetricStat": {}}]
    [item] = idle_cost.bill({"Volume": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": queries}}})
    assert item.quantity == 3


@pytest.mark.parametrize("env", environments.parameters())
@pytest.mark.parametrize("more", [{}, STRIPE], ids=["sandbox", "stripe"])
def test_every_resource_type_is_priced_or_known_to_be_free(env: str, more: dict[str, str]) -> None:
    assert idle_cost.bill(environments.deployed(environments.parameters()[env] | more))


def test_conditional_resources_are_priced_or_known_to_be_free(stack: Stack) -> None:
    types = {resource["Type"] for resource in stack.resources.values()}
    unknown = types - {"AWS::CloudFormation::Stack"} - set(idle_prices.PRICED) - set(idle_prices.FREE)
    require_same((), unknown, "PRICED or FREE in devtools/checks/idle_prices.py", "`make idle-cost` bills each type of resource")


def test_web_acl_is_priced_with_its_rules() -> None:
    acl = {"Type": "AWS::WAFv2::WebACL", "Properties": {"Rules": [{"Name": "requests"}, {"Name": "description"}]}}
    assert idle_cost.total(idle_cost.bill({"Firewall": acl})) == 7.0


def test_unknown_resource_type_is_an_error() -> None:
    with pytest.raises(UserError, match=r"^Gateway: the price of AWS::EC2::NatGateway is unknown"):
        idle_cost.bill({"Gateway": {"Type": "AWS::EC2::NatGateway", "Properties": {}}})


def test_no_type_is_both_priced_and_free() -> None:
    assert not set(idle_prices.PRICED) & set(idle_prices.FREE)


def test_alarms_cost_with_a_subscriber_and_in_protected_stacks() -> None:
    def alarms(parameters: dict[str, str]) -> float:
        return sum(item.quantity for item in idle_cost.bill(environments.deployed(parameters)) if item.what.startswith("alarms"))

    assert alarms({"Stage": "dev"}) == 0
    assert alarms({"Stage": "dev", "AlarmEmail": "ops@example.com"}) == alarms({"Stage": "prod"}) - 1 > 2


def test_maximum_concurrency_on_a_queue_costs_three_more_pollers() -> None:
    mapping = {"EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]}}
    queue = {"Type": "AWS::SQS::Queue", "Properties": {}}

    def requests(**more: Any) -> float:
        resources = {"Queue": queue, "Mapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": mapping | more}}
        [item] = idle_cost.bill(resources)
        return item.quantity

    # 730 hours of long polls of 20 seconds.
    assert requests() == 2 * 131_400
    assert requests(ScalingConfig={"MaximumConcurrency": 2}) == 5 * 131_400


def test_unprotected_stack_pays_for_no_limit_of_concurrency() -> None:
    resources = environments.deployed({"Stage": "dev"})
    assert not [name for name, one in resources.items() if "MaximumConcurrency" in one["Properties"].get("ScalingConfig", {})]


def test_protected_stack_limits_every_queues_concurrency() -> None:
    resources = environments.deployed({"Stage": "prod"})
    queues = [
        one["Properties"]
        for one in resources.values()
        if one["Type"] == "AWS::Lambda::EventSourceMapping"
        and resources[referred(one["Properties"]["EventSourceArn"])]["Type"] == "AWS::SQS::Queue"
    ]
    assert queues
    # Reviewers decide one order at a time, so that queue has no backlog that could use the API's concurrency.
    unlimited = [one["FunctionName"] for one in queues if "MaximumConcurrency" not in one.get("ScalingConfig", {})]
    assert unlimited == [{"Ref": "ReviewsClose"}]


def test_api_has_no_detailed_metrics(stack: Stack) -> None:
    """Detailed metrics are billed as custom metrics, five per method; alarms use the stage's metrics."""
    assert all(one["MetricsEnabled"] is False for stage in stack.of("ApiGateway::Stage").values() for one in stage["MethodSettings"])


@pytest.mark.parametrize(
    ("expression", "runs"),
    [
        ("rate(1 minute)", 43_800),
        ("rate(5 minutes)", 8_760),
        ("rate(1 hour)", 730),
        ("cron(30 3 * * ? *)", 730 / 24),
        ("cron(0/15 * * * ? *)", 2_920),
        ("cron(0 6,18 * * ? *)", 730 / 12),
    ],
)
def test_runs_of_a_schedule_are_counted(expression: str, runs: float) -> None:
    assert idle_prices.runs_a_month(expression) == pytest.approx(runs)


@pytest.mark.parametrize("expression", ["cron(0 9 ? * MON-FRI *)", "at(2026-11-21T12:00:00)"])
def test_uncountable_schedule_is_an_error(expression: str) -> None:
    with pytest.raises(UserError, match="is not supported"):
        idle_prices.runs_a_month(expression)


def test_every_scheduled_function_has_a_cost_per_run(stack: Stack) -> None:
    functions = {function for function, *_ in scheduled(stack)}
    where = "RUN_READ_UNITS in devtools/checks/idle_prices.py"
    require_same(idle_prices.RUN_READ_UNITS, functions, where, "a scheduled function costs these read units without orders")


class AnHourLater(datetime):
    """The clock of a run an hour later."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:

        return datetime.now(tz) + timedelta(hours=1)


def test_scheduled_run_without_work_costs_no_more_than_assumed(
    stack: Stack, context: Any, capsys: pytest.CaptureFixture[str], logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.get_remaining_time_in_millis = lambda: 600_000
    for function, handler, event in scheduled(stack):
        aws = Aws(FakeDynamoDB(*TABLES))
        aws.lend()
        module = importlib.import_module(handler.removesuffix(".handler"))
        module.handler(event, context)
        if hasattr(module, "datetime"):
            monkeypatch.setattr(module, "datetime", AnHourLater)
        units: list[float] = []
        aws.dynamodb.after = lambda _, given, units=units: units.append(1.0 if given.get("ConsistentRead") else 0.5)
        aws.dynamodb.calls.clear()
        before = len(logged())
        module.handler(event, context)

        writes = [call for call in aws.dynamodb.calls if call not in {"Query", "Scan", "GetItem", "BatchGetItem"}]
        assert writes == (["TransactWriteItems"] if function == "LedgerAudit" else []), function
        assert sum(units) <= idle_prices.RUN_READ_UNITS[function], function
        assert sum(len(json.dumps(line)) + 26 for line in logged()[before:]) <= idle_prices.RUN_LOG_BYTES, function
        assert '"_aws"' not in capsys.readouterr().out, function


@pytest.mark.parametrize("env", ["default", "prod"])
def test_documented_command_prints_the_sum(env: str) -> None:
    command = [sys.executable, "-m", "devtools", "idle-cost"]
    printed = subprocess.run(command, cwd=ROOT, env=os.environ | {"ENV": env}, capture_output=True, text=True, check=True)
    [line] = [line for line in printed.stdout.splitlines() if "total" in line]
    assert f"{dollars(environments.parameters()[env]):.2f}" in line
    assert not printed.stderr


def test_unknown_environment_error_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"^ENV must be an environment of samconfig.toml \(default, .*prod\), not 'production'$"):
        idle_cost.main(parsed("idle-cost", "--env", "production"))


def test_document_has_the_current_costs() -> None:
    assert idle_cost.part() in page.DOCUMENT.read_text("utf-8"), "run `make idle-cost RECORD=1`"
