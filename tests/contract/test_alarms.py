"""Every alarm fires on bad data and only then; each notifies through its group and leads to a runbook."""

from __future__ import annotations

import re
from typing import Any

import pytest

from devtools.checks import idle_prices
from devtools.monitoring import alarms, metric_catalogue, metric_math, service_levels
from devtools.monitoring.model import Alarm, Group
from devtools.target import ROOT
from operations.domain import alarm_signals
from tests.contract.stack import Stack, referred
from tests.support import alarm_states
from tests.support.alarm_states import Data, Points, every
from tests.support.guidance import require_same

RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text("utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", RUNBOOKS, flags=re.MULTILINE)[1:]}
ALARMS = {alarm.id: alarm for alarm in alarms.every_alarm()}
DAY = 86_400
NOW = 3 * DAY


def mixed(good: float, bad: float, share: int, since: int, seconds: int = 30) -> Points:
    """Return points since a time, of which `share` of each hundred, spread over it, are bad."""
    return [(time, bad if number * 37 % 100 < share else good) for number, time in enumerate(range(since, NOW, seconds))]


def level(bad_share: int) -> dict[str, Data]:
    """Return the data of the service levels with this bad share, in per cent, in the last day."""
    since = NOW - DAY
    faults = mixed(0, 1, bad_share, since)
    audits = [(time, 1.0) for time in range(since, NOW, 600)]
    return {
        "OrdersAccepted": {"PlaceRequests": every(30, 1, since, NOW), "PlaceFaults": faults},
        "OrdersAnswered": {"PlaceRequests": every(30, 1, since, NOW), "PlaceSlow": faults},
        "OrdersDecided": {"OrderDecisionSeconds": mixed(2, 45, bad_share, since)},
        "EventsPublished": {"PublicationLagSeconds": mixed(0.4, 11, bad_share, since)},
        "EmailsSent": {"EmailDelaySeconds": mixed(3, 121, bad_share, since)},
        "MoneyAgrees": {
            "LedgerEntriesAudited": [(time, 100) for time, _ in audits],
            "LedgerDifferences": [(time, float(bad_share)) for time, _ in audits],
            "PaymentsCompared": [(NOW - 600, 100.0)],
            "PaymentsDifferent": [(NOW - 600, float(bad_share))],
        },
    }


# For each alarm on an expression, data on which it fires and data on which it does not.
EXPRESSIONS: dict[str, tuple[Data, Data]] = {
    "ThrottlesAlarm": ({"WriteProvisionedThroughputExceeded": every(30, 6, 0, NOW)}, {"Throttles": every(30, 1, 0, NOW)}),
    "ReleaseStepErrorsAlarm": (
        {"Errors": every(60, 2, 0, NOW), "Invocations": every(60, 100, 0, NOW)},
        {"Errors": every(60, 1, 0, NOW), "Invocations": every(60, 100, 0, NOW)},
    ),
    "SagaFailedAlarm": ({"ExecutionsTimedOut": [(NOW - 5, 1)]}, {"ExecutionsFailed": [(NOW - 5, 0)], "ExecutionsTimedOut": [(NOW - 5, 0)]}),
    "OrderVolumeAlarm": ({"OrdersPlaced": every(60, 11, 0, NOW)}, {"OrdersPlaced": every(60, 7, 0, NOW)}),
    "NoOrdersAlarm": ({"OrdersPlaced": [(NOW - 3700, 1)]}, {"OrdersPlaced": [(NOW - 3500, 1)]}),
}


def scenario(alarm: Alarm) -> tuple[Data, Data]:
    """Return data on which an alarm fires, and data just below its threshold."""
    for one in service_levels.LEVELS:
        if alarm in one.windows:
            return level(50)[one.id], level(0)[one.id]
    if alarm.id in EXPRESSIONS:
        return EXPRESSIONS[alarm.id]
    [series] = alarm.series.values()
    times = range(NOW - alarm.period * alarm.periods + 1, NOW, alarm.period)
    return {series.metric: [(time, alarm.threshold + 0.001) for time in times]}, {
        series.metric: [(time, alarm.threshold) for time in times]
    }


@pytest.mark.parametrize("alarm", ALARMS.values(), ids=ALARMS)
class TestEachAlarm:
    def test_alarm_fires_on_bad_data_and_not_below_its_threshold(self, alarm: Alarm, stack: Stack) -> None:
        deployed = stack.of("CloudWatch::Alarm")[alarm.id]
        bad, good = scenario(alarm)
        assert alarm_states.is_on(deployed, bad, NOW)
        assert not alarm_states.is_on(deployed, good, NOW)

    def test_missing_data_fires_only_alarms_that_expect_orders(self, alarm: Alarm, stack: Stack) -> None:
        assert alarm_states.is_on(stack.of("CloudWatch::Alarm")[alarm.id], {}, NOW) is (alarm.id == "NoOrdersAlarm")

    def test_alarm_links_to_its_section_of_the_runbooks(self, alarm: Alarm, stack: Stack) -> None:
        description = stack.of("CloudWatch::Alarm")[alarm.id]["AlarmDescription"]["Fn::Sub"]
        assert description.endswith(f"Runbook: ${{Runbooks}}#{alarm.runbook}")
        assert f"`{alarm.id}`" in SECTIONS[alarm.runbook]

    def test_alarm_notifies_through_one_group(self, alarm: Alarm) -> None:
        rules = [rule for group in alarms.GROUPS for rule, _ in group.rules]
        assert len([rule for rule in rules if f"${{{alarm.id}}}" in rule]) == (2 if alarm.id in BOTH else 1)


# Alarms that are in the short window of a service level and also notify alone.
BOTH = {"LedgerDifferenceAlarm", "PaymentsDifferAlarm"}


def test_every_section_has_alarms_and_says_four_things() -> None:
    expected: dict[str, set[str]] = {}
    for name, identifier in [
        *((alarm.runbook, alarm.id) for alarm in ALARMS.values()),
        *((group.name, group.id) for group in alarms.GROUPS),
    ]:
        expected.setdefault(name, set()).add(identifier)
    require_same(
        SECTIONS, expected, "docs/runbooks.md, as sections", "each runbook of an alarm in devtools/monitoring/alarms.py is a section"
    )
    for name, text in SECTIONS.items():
        listed, *parts = re.split(r"^- \*\*(\w+)\.\*\* ", text, flags=re.MULTILINE)
        found = re.findall(r"`(\w+Alarm)`", listed)
        require_same(
            found, expected[name], f"the alarms of docs/runbooks.md, section {name}", "devtools/monitoring/alarms.py names that section"
        )
        assert parts[::2] == ["Meaning", "See", "Do", "Over"], name
        assert all(part.strip() for part in parts[1::2]), name


def test_flood_at_a_webhook_notifies_no_operator(stack: Stack) -> None:
    """Lambda rejects the requests above the reserved executions of a webhook, as intended."""
    reserved = {one["FunctionName"]["Fn::Sub"] for one in stack.of("Lambda::Function").values() if "ReservedConcurrentExecutions" in one}
    assert len(reserved) == len(("payments-webhook", "shipping-webhook"))
    watched = [dict(one.dimensions) for alarm in ALARMS.values() for one in alarm.series.values() if one.metric == "Throttles"]
    throttled = {one.get("FunctionName", "every function of the account").replace("${", "${AWS::") for one in watched}
    assert throttled == {"${AWS::StackName}-orders-place"}
    assert not throttled & reserved


# The reconciliation runs once a night. An alarm that lasted for a day would keep its group on, which then notifies of nothing else.
ONCE_A_NIGHT = "PaymentsDifferAlarm"


def intervals(stack: Stack) -> dict[str, int]:
    """Return the seconds between two runs of each scheduled job, by its handler as the catalogue of metrics names it."""
    found: dict[str, int] = {}
    for schedule in stack.of("Scheduler::Schedule").values():
        context, _, module, _ = stack.of("Lambda::Function")[referred(schedule["Target"]["Arn"])]["Handler"].split(".")
        found[f"{context}/{module}"] = round(idle_prices.HOURS * 3600 / idle_prices.runs_a_month(schedule["ScheduleExpression"]))
    return found


def test_alarm_on_a_job_stays_on_between_two_bad_runs(stack: Stack) -> None:
    """Otherwise it is over after each run, and notifies again at the next one."""
    jobs = {one.metric.name: seconds for one in metric_catalogue.CATALOGUE if (seconds := intervals(stack).get(one.by))}
    watched = {alarm: series.metric for alarm in ALARMS.values() if not alarm.expression for series in alarm.series.values()}
    on_jobs = {alarm.id: (alarm, metric) for alarm, metric in watched.items() if metric in jobs}
    assert {"LedgerDifferenceAlarm", "StuckOrdersAlarm", ONCE_A_NIGHT} < set(on_jobs)
    del on_jobs[ONCE_A_NIGHT]
    for name, (alarm, metric) in on_jobs.items():
        seconds = jobs[metric]
        # A schedule starts its job within a minute.
        points = [(NOW + number * seconds + number * 37 % 60, alarm.threshold + 1) for number in range(4)]
        minutes = range(NOW + 60, NOW + 3 * seconds, 60)
        off = [now for now in minutes if not alarm_states.is_on(stack.of("CloudWatch::Alarm")[name], {metric: points}, now)]
        assert off == [], name


@pytest.mark.parametrize("group", alarms.GROUPS, ids=lambda group: group.id)
class TestEachGroup:
    def test_group_notifies_by_its_severity_and_links_to_its_section(self, group: Group, stack: Stack) -> None:
        deployed = stack.of("CloudWatch::CompositeAlarm")[group.id]
        assert deployed["AlarmName"] == {"Fn::Sub": f"${{AWS::StackName}}-{group.name}"}
        assert group.name.endswith(f"-{group.severity}")
        assert deployed["AlarmActions"] == deployed["OKActions"] == [{"Ref": "Alarms"}]
        assert deployed["AlarmDescription"]["Fn::Sub"].endswith(f"Runbook: ${{Runbooks}}#{group.name}")
        assert {alarm.area.severity for alarm in group.alarms} == {group.severity}

    def test_group_fires_on_any_of_its_alarms(self, group: Group, stack: Stack) -> None:
        rule = full_rule(stack.of("CloudWatch::CompositeAlarm")[group.id])
        assert not alarm_states.rule_holds(rule, lambda _: False)
        for alarm in group.alarms:
            assert alarm_states.rule_holds(rule, lambda name, alarm=alarm: name == alarm.id), alarm.id


def test_remediation_knows_every_step_whose_errors_an_alarm_watches() -> None:
    errors = {dict(one.dimensions)["FunctionName"] for alarm in ALARMS.values() for one in alarm.series.values() if one.metric == "Errors"}
    where = "FUNCTIONS in functions/operations/domain/alarm_signals.py"
    known = [f"${{StackName}}-{name}" for name in alarm_signals.FUNCTIONS]
    require_same(known, errors, where, "it has the functions whose errors an alarm in devtools/monitoring/alarms.py watches")


def full_rule(composite: dict[str, Any]) -> str:
    """Return the rule of a composite alarm in a stack with all its alarms."""
    separator, parts = composite["AlarmRule"]["Fn::Join"]
    return separator.join((part["Fn::If"][1] if "Fn::If" in part else part)["Fn::Sub"] for part in parts)


class TestBurnRate:
    """An alarm on a burn rate of 14.4 fires while both its windows exceed the threshold."""

    @pytest.mark.parametrize("level", service_levels.LEVELS, ids=lambda level: level.id)
    def test_threshold_is_the_budgets_share_at_that_rate(self, level: service_levels.Level, stack: Stack) -> None:
        budget = 100 - level.objective
        for window in level.windows:
            assert stack.of("CloudWatch::Alarm")[window.id]["Threshold"] == pytest.approx(14.4 * budget)

    @pytest.mark.parametrize(
        ("long", "short", "notified"),
        [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
        ids=["burning", "over", "a bad minute", "fine"],
    )
    def test_group_notifies_while_both_windows_burn(self, stack: Stack, long: bool, short: bool, notified: bool) -> None:
        rule = full_rule(stack.of("CloudWatch::CompositeAlarm")["FulfilmentPageAlarm"])
        on = {"OrdersDecidedBurnLongAlarm": long, "OrdersDecidedBurnShortAlarm": short}
        assert alarm_states.rule_holds(rule, lambda name: on.get(name, False)) is notified

    def windows(self, stack: Stack, data: Data, now: int = NOW) -> tuple[bool, bool]:
        found = stack.of("CloudWatch::Alarm")
        return tuple(alarm_states.is_on(found[f"OrdersDecidedBurn{name}Alarm"], data, now) for name in ("Long", "Short"))  # pyright: ignore[reportReturnType]

    def test_bad_minute_burns_in_the_short_window_only(self, stack: Stack) -> None:
        points = [(time, 60.0 if time > NOW - 60 else 2.0) for time in range(NOW - 3600, NOW, 15)]
        assert self.windows(stack, {"OrderDecisionSeconds": points}) == (False, True)

    def test_outage_of_ten_minutes_burns_in_both(self, stack: Stack) -> None:
        points = [(time, 60.0 if time > NOW - 600 else 2.0) for time in range(NOW - 3600, NOW, 15)]
        assert self.windows(stack, {"OrderDecisionSeconds": points}) == (True, True)

    def test_after_an_outage_the_short_window_recovers_first(self, stack: Stack) -> None:
        points = [(time, 60.0 if NOW - 1200 < time < NOW - 360 else 2.0) for time in range(NOW - 3600, NOW, 15)]
        assert self.windows(stack, {"OrderDecisionSeconds": points}) == (True, False)

    def test_budget_burning_as_fast_as_it_may_is_no_alarm(self, stack: Stack) -> None:
        points = mixed(2, 60, 1, NOW - 3600, seconds=5)
        assert self.windows(stack, {"OrderDecisionSeconds": points}) == (False, False)

    def test_few_measurements_do_not_count(self, stack: Stack) -> None:
        points = [(NOW - 100 - number, 60.0) for number in range(service_levels.FEWEST - 1)]
        assert self.windows(stack, {"OrderDecisionSeconds": points}) == (False, True)

    def test_one_difference_among_ten_thousand_entries_is_in_the_budget(self, stack: Stack) -> None:
        alarm = stack.of("CloudWatch::Alarm")["MoneyAgreesBurnLongAlarm"]
        entries = [(time, 1000.0) for time in range(NOW - DAY + 1, NOW, 3600)]
        assert not alarm_states.is_on(alarm, {"LedgerEntriesAudited": entries, "LedgerDifferences": [(NOW - 60, 1.0)]}, NOW)
        assert alarm_states.is_on(alarm, {"LedgerEntriesAudited": entries, "LedgerDifferences": [(NOW - 60, 40.0)]}, NOW)


@pytest.mark.parametrize(("latency", "slow"), [("2999", False), ("3000", True), ("29000", True), ("300", False), ("-", False)])
def test_request_of_three_seconds_or_more_is_slow(stack: Stack, latency: str, slow: bool) -> None:
    [pattern] = re.findall(r"latency_ms = %(.*)%", stack.of("Logs::MetricFilter")["PlaceSlow"]["FilterPattern"])
    assert bool(re.search(pattern, latency)) is slow
    # CloudWatch Logs documents the repetition {m,n} alone, and no groups.
    assert set(pattern) <= set("^$|[]-0123456789")


class TestMetricMath:
    """The metric math that evaluates alarms in these tests."""

    @pytest.mark.parametrize(
        ("name", "expected"), [("Sum", 60), ("SampleCount", 4), ("Maximum", 30), ("Average", 15), ("PR(:10)", 50), ("p99", 30), ("p50", 10)]
    )
    def test_statistics(self, name: str, expected: float) -> None:
        assert metric_math.statistic(name, [5, 10, 15, 30]) == expected
        assert metric_math.statistic(name, []) is None

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("100 * a / b", 25),
            ("a / none", None),
            ("100 * none / b", 0),
            ("none - a", -2),
            ("100 - none", None),
            ("a / zero", None),
            ("IF(b >= 8, 100 - a, 0)", 98),
            ("IF(b >= 9, 100 - a, 0)", 0),
            ("IF(none >= 9, 1, 0)", None),
            ("FILL(none, 0) + a", 2),
            ("SUM([a, none, b])", 10),
            ("SUM([none])", None),
        ],
    )
    def test_expressions(self, expression: str, expected: float | None) -> None:
        assert metric_math.evaluated(expression, {"a": 2, "b": 8, "none": None, "zero": 0}) == expected
