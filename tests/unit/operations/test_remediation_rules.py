"""The action that an alarm starts, or the reason why it starts none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from operations.domain import remediation
from operations.domain.alarm_names import NAMES
from operations.domain.alarm_signals import LIMITS, Alarm, Metric, Signal, alarm_of, cause_of, is_own, signal_of
from operations.domain.remediation import (
    COOL_DOWN,
    RECENT,
    Action,
    Consumer,
    DeadLetter,
    FlagState,
    Raise,
    Refusal,
    Situation,
    decide,
    decide_restoration,
    rolled_back,
)
from orderflow.domain.remediation_events import SystemState
from tests.support.samples import sample

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
STACK = "order-pipeline"
FLAGS = FlagState({}, "v1", number=2, deployed_at=NOW - timedelta(days=1), previous=1)
CHANGED = FlagState({}, "v1", number=2, deployed_at=NOW - RECENT, previous=1)
MAIL = Signal("dead_letters", "mail")
SLOW = Signal("queue_age", "ledger")


def situation(**more: Any) -> Situation:
    return Situation(**{"now": NOW, "alarm_state": "ALARM", "flags": FLAGS, **more})


def reasons(signal: Signal | None, **more: Any) -> list[str]:
    found = decide(signal, situation(**more))
    return [] if isinstance(found, Action) else [f"{refusal.action} {refusal.reason}" for refusal in found]


def action(signal: Signal, **more: Any) -> Action:
    found = decide(signal, situation(**more))
    assert isinstance(found, Action), found
    return found


@pytest.mark.parametrize(
    ("namespace", "name", "dimensions", "expected"),
    [
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": f"{STACK}-mail-dead-letters"}, Signal("dead_letters", "mail")),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": f"{STACK}-operations"}, Signal("dead_letters", "operations")),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": f"{STACK}-scheduled-jobs-dead-letters"}, None),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": "other-mail-dead-letters"}, None),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": f"{STACK}-ledger"}, Signal("queue_age", "ledger")),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": f"{STACK}-invoices-issue"}, None),
        ("AWS/Lambda", "Errors", {"FunctionName": f"{STACK}-fraud-screen"}, Signal("fraud")),
        ("AWS/Lambda", "Errors", {"FunctionName": f"{STACK}-payments-authorize"}, Signal("payments")),
        ("AWS/Lambda", "Errors", {"FunctionName": f"{STACK}-orders-confirm"}, Signal("service")),
        ("AWS/Lambda", "Errors", {"FunctionName": f"{STACK}-orders-place"}, None),
        ("AWS/Lambda", "Errors", {"FunctionName": f"{STACK}-eu-fraud-screen"}, None),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": f"{STACK}-eu-mail"}, None),
        ("AWS/Lambda", "IteratorAge", {"FunctionName": f"{STACK}-orders-publish"}, None),
        ("AWS/ApiGateway", "5XXError", {"ApiName": STACK, "Stage": "prod"}, Signal("service")),
        ("AWS/ApiGateway", "5XXError", {"ApiName": "other"}, None),
        ("AWS/States", "ExecutionsFailed", {"StateMachineArn": f"arn:aws:states:x:1:stateMachine:{STACK}-fulfilment"}, Signal("service")),
        ("AWS/States", "ExecutionsFailed", {"StateMachineArn": f"arn:aws:states:x:1:stateMachine:{STACK}-remediation"}, None),
        (f"OrderPipeline/{STACK}", "LedgerDifferences", {"service": "ledger"}, Signal("money")),
        (f"OrderPipeline/{STACK}", "PaymentsDifferent", {"service": "payments"}, Signal("money")),
        ("OrderPipeline/other", "LedgerDifferences", {"service": "ledger"}, None),
    ],
)
def test_signal_follows_from_the_alarms_metric(namespace: str, name: str, dimensions: dict[str, str], expected: Signal | None) -> None:
    assert signal_of(Alarm("a", "ALARM", NOW, (Metric(namespace, name, dimensions),)), STACK) == expected


def test_alarm_is_read_from_cloudwatchs_event() -> None:
    alarm = alarm_of(sample("operations/decide_remediation/duplicate")["alarm"]["detail"])

    assert (alarm.name, alarm.state, alarm.changed_at) == ("order-pipeline-mail-dead-letters", "ALARM", NOW)
    assert signal_of(alarm, STACK) == MAIL


def test_composite_alarm_has_no_signal() -> None:
    detail = {
        "alarmName": "a",
        "state": {"value": "ALARM", "timestamp": "2026-11-21T12:00:00.000+0000"},
        "configuration": {"alarmRule": "x"},
    }

    assert signal_of(alarm_of(detail), STACK) is None


def test_math_alarm_has_the_signal_of_its_first_known_metric() -> None:
    metric = {"namespace": "AWS/Lambda", "name": "Errors", "dimensions": {"FunctionName": f"{STACK}-orders-confirm"}}
    metrics = [{"id": "e", "expression": "SUM(METRICS())"}, {"id": "m", "metricStat": {"metric": metric}}]
    detail = {"alarmName": "a", "state": {"value": "ALARM", "timestamp": "2026-11-21T12:00:00Z"}, "configuration": {"metrics": metrics}}

    assert signal_of(alarm_of(detail), STACK) == Signal("service")


@pytest.mark.parametrize(
    ("name", "own"),
    [
        (f"{STACK}-fraud-screen-errors", True),
        (f"{STACK}-eu-fraud-screen-errors", False),
        (f"{STACK}-fraud-screen", False),
        (f"{STACK}fraud-screen-errors", False),
        ("fraud-screen-errors", False),
    ],
)
def test_alarm_is_the_stacks_by_its_whole_name(name: str, own: bool) -> None:
    assert is_own(Alarm(name, "ALARM", NOW), STACK) is own


def test_no_name_of_an_alarm_ends_in_another_one() -> None:
    """Otherwise an alarm of a stack `shop-mail` could have the name of one of `shop`."""
    assert [(name, end) for name in NAMES for end in NAMES if name.endswith(f"-{end}")] == []


def test_malformed_event_is_rejected() -> None:
    with pytest.raises(msgspec.ValidationError):
        alarm_of({"alarmName": "a"})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("ClientError An error occurred (ThrottlingException) when calling PutItem", "throttle"),
        ("ProvisionedThroughputExceededException", "throttle"),
        ("Lambda.TooManyRequestsException", "throttle"),
        ("THROTTLING", "throttle"),
        ("ReadTimeoutError Read timeout on endpoint URL", "timeout"),
        ("CarrierTimeout no answer", "timeout"),
        ("States.Timeout", "timeout"),
        ("TIMEOUT", "timeout"),
        ("ValidationError Object missing required field", "other"),
        ("CarrierUnavailable", "other"),
        ("NO_PERMISSIONS", "other"),
        ("", "unknown"),
    ],
)
def test_cause_follows_from_the_error(error: str, expected: str) -> None:
    assert cause_of(error) == expected


@pytest.mark.parametrize("signal", [MAIL, SLOW, Signal("money"), Signal("fraud"), Signal("payments"), Signal("service"), None])
def test_one_flag_switches_every_action_off(signal: Signal | None) -> None:
    off = FlagState({"remediation": False}, "v1", number=2, deployed_at=NOW, previous=1)

    assert reasons(signal, flags=off, dead_letters=(DeadLetter("throttle", redriven=False),), releases=1) == ["any switched_off"]


def test_unlisted_alarm_starts_no_action() -> None:
    assert reasons(None) == ["any not_on_the_list"]


@pytest.mark.parametrize("state", ["OK", "INSUFFICIENT_DATA", ""])
def test_alarm_that_is_over_starts_no_action(state: str) -> None:
    assert reasons(MAIL, alarm_state=state, dead_letters=(DeadLetter("throttle", redriven=False),)) == ["any alarm_is_over"]


@pytest.mark.parametrize("cause", ["throttle", "timeout"])
def test_dead_letters_of_a_transient_cause_are_redriven(cause: Any) -> None:
    dead_letters = (DeadLetter(cause, redriven=False), DeadLetter("timeout", redriven=False))

    assert action(MAIL, dead_letters=dead_letters) == Action("redrive", "mail", SystemState(dead_letters=2))


@pytest.mark.parametrize(
    ("dead_letters", "reason"),
    [
        ((), "no_dead_letters"),
        ((DeadLetter("throttle", redriven=True),), "redriven_before"),
        ((DeadLetter("throttle", redriven=False), DeadLetter("throttle", redriven=True)), "redriven_before"),
        ((DeadLetter("throttle", redriven=False), DeadLetter("other", redriven=False)), "cause_not_transient"),
        ((DeadLetter("throttle", redriven=False), DeadLetter("unknown", redriven=False)), "cause_unknown"),
    ],
)
def test_other_dead_letters_are_left_to_operators(dead_letters: tuple[DeadLetter, ...], reason: str) -> None:
    assert reasons(MAIL, dead_letters=dead_letters) == [f"redrive {reason}"]


@pytest.mark.parametrize(("maximum", "raised"), [(2, 4), (10, 20), (15, 20)])
def test_concurrency_is_doubled_up_to_its_limit(maximum: int, raised: int) -> None:
    found = action(SLOW, consumer=Consumer("mapping", maximum, waiting=1, fails=False))

    assert (found.action, found.target, found.mapping, found.maximum) == ("raise_concurrency", "ledger", "mapping", raised)
    assert found.before == SystemState(maximum_concurrency=maximum)


@pytest.mark.parametrize(
    ("consumer", "reason"),
    [
        (None, "no_limit"),
        (Consumer("m", None, waiting=1, fails=False), "no_limit"),
        (Consumer("m", 10, waiting=1, fails=True), "consumer_fails"),
        (Consumer("m", 10, waiting=0, fails=False), "no_backlog"),
        (Consumer("m", LIMITS["ledger"], waiting=1, fails=False), "at_the_limit"),
        (Consumer("m", 1000, waiting=1, fails=False), "at_the_limit"),
    ],
)
def test_concurrency_is_not_raised_where_it_does_not_help(consumer: Consumer | None, reason: str) -> None:
    assert reasons(SLOW, consumer=consumer) == [f"raise_concurrency {reason}"]


def test_money_signal_holds_every_order() -> None:
    assert action(Signal("money")) == Action("hold_orders", "flags", SystemState(flags="v1", hold_every_order=False))


def test_held_orders_are_not_held_again() -> None:
    held = FlagState({"hold_every_order": True}, "v2")

    assert reasons(Signal("money"), flags=held) == ["hold_orders held_already"]


@pytest.mark.parametrize("kind", ["fraud", "payments"])
def test_recent_change_of_flags_is_rolled_back(kind: Any) -> None:
    found = action(Signal(kind), flags=CHANGED)

    assert (found.action, found.target, found.number) == ("roll_back_flags", "flags", 1)


def test_fraud_signal_without_a_change_holds_every_order() -> None:
    assert action(Signal("fraud")).action == "hold_orders"


@pytest.mark.parametrize(
    "flags",
    [
        FlagState({}, "default"),
        FlagState({}, "v1", number=1, deployed_at=NOW),
        FlagState({}, "v1", number=2, deployed_at=NOW - RECENT - timedelta(seconds=1), previous=1),
    ],
    ids=["none", "first", "old"],
)
def test_flags_without_a_recent_change_are_not_rolled_back(flags: FlagState) -> None:
    assert reasons(Signal("payments"), flags=flags) == ["stop_release no_release", "roll_back_flags no_recent_change"]


@pytest.mark.parametrize("kind", ["fraud", "payments", "service"])
def test_release_in_progress_is_stopped_first(kind: Any) -> None:
    assert action(Signal(kind), releases=3, flags=CHANGED) == Action("stop_release", "release", SystemState(releases=3))


def test_service_signal_without_a_release_is_left_to_operators() -> None:
    assert decide(Signal("service"), situation()) == (Refusal("no_release", "stop_release"),)


def test_every_action_is_allowed_and_has_a_rule() -> None:
    assert {name for names in remediation.PLAYBOOK.values() for name in names} == set(remediation._RULES)


def test_rolled_back_flags_are_not_rolled_back_again() -> None:
    """A roll-back's own deployment is no longer recent when the cool-down of its target ends."""
    assert COOL_DOWN > RECENT


def test_roll_back_neither_ends_a_hold_nor_switches_remediation() -> None:
    assert rolled_back({"hold_every_order": True, "hold_countries": ["GB"]}, {"remediation": False, "hold_countries": []}) == {
        "hold_every_order": True,
        "hold_countries": [],
    }
    assert rolled_back({"remediation": False}, {"hold_every_order": True}) == {"hold_every_order": True, "remediation": False}


RAISED = Raise(raised_to=20, restore_to=10, restored=False)


def restoration(**more: Any) -> Action | tuple[Refusal, ...]:
    return decide_restoration(
        SLOW, situation(**{"alarm_state": "OK", "consumer": Consumer("m", 20, 0, fails=False), "last_raise": RAISED} | more)
    )


def test_raised_concurrency_is_set_back() -> None:
    found = restoration()
    assert isinstance(found, Action)
    assert (found.action, found.target, found.maximum) == ("restore_concurrency", "ledger", 10)
    assert found.before == SystemState(maximum_concurrency=20)


@pytest.mark.parametrize(
    "more",
    [
        {"alarm_state": "ALARM"},
        {"last_raise": None},
        {"last_raise": Raise(raised_to=20, restore_to=10, restored=True)},
        {"consumer": None},
        {"consumer": Consumer("m", 15, 0, fails=False)},
    ],
    ids=["alarm again", "never raised", "set back", "no consumer", "changed by a person"],
)
def test_nothing_is_set_back_otherwise(more: dict[str, Any]) -> None:
    assert restoration(**more) == ()


def test_flag_keeps_raised_concurrency() -> None:
    assert restoration(flags=FlagState({"remediation": False}, "v1")) == (Refusal("switched_off"),)


@pytest.mark.parametrize(
    ("last", "restore_to"),
    [
        (None, 8),
        (Raise(raised_to=8, restore_to=4, restored=False), 4),
        (Raise(raised_to=8, restore_to=4, restored=True), 8),
        (Raise(raised_to=6, restore_to=3, restored=False), 8),
    ],
    ids=["first", "second", "set back in between", "changed by a person"],
)
def test_second_raise_is_set_back_to_the_first_value(last: Raise | None, restore_to: int) -> None:
    found = action(SLOW, consumer=Consumer("m", 8, 5, fails=False), last_raise=last)
    assert (found.maximum, found.restore_to) == (16, restore_to)
