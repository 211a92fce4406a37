"""Decides which automatic remediation an alarm starts: the allow-list of actions, and the limits of each.

| signal | actions, the first possible one is performed |
|---|---|
| `dead_letters`: messages in a dead-letter queue | redrive |
| `queue_age`: a queue's oldest message is too old | raise the consumer's concurrency |
| `money`: ledger or payments differ | hold every order |
| `fraud`: orders cannot be screened | stop the release, roll the flags back, hold every order |
| `payments`: payments cannot be authorized | stop the release, roll the flags back |
| `service`: errors of the API, of the saga or of a function | stop the release |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from msgspec import Struct

from operations.redrive_routes import OPERATIONS, QUEUES, dead_letters
from orderflow.domain.remediation_events import ActionName, Reason, Refusal, SystemState

# A changed flag is suspected for this long.
RECENT = timedelta(hours=1)
# An action on one target is performed at most once in this time, whichever alarms start it. Longer than RECENT, so that a
# roll-back of flags is not itself rolled back.
COOL_DOWN = timedelta(hours=2)
MAX_REDRIVEN = 100
RAISE_FACTOR = 2
# The highest concurrency of a consumer. Other consumers wait for a common counter or a slow provider, so more concurrency gains nothing.
LIMITS = {
    "mail": 20,
    "payments-settle": 20,
    "payments-notice": 20,
    "inventory-settle": 20,
    "ledger": 20,
    "shipping-request": 20,
    "shipping-record": 20,
    "shipping-track": 10,
    "order-view": 20,
    "loyalty-award": 20,
    "reviews-close": 10,
}
# Error codes of AWS, EventBridge and Step Functions, and our exceptions.
_THROTTLE = re.compile(r"Throttl|THROTTLING|ProvisionedThroughputExceeded|TooManyRequests|RequestLimitExceeded|SlowDown")
_TIMEOUT = re.compile(r"TIMEOUT|Timeout|TimedOut|timed out")
_REDRIVABLE = {dead_letters(name): name for name in (*QUEUES, OPERATIONS, "publish", "saga", "review-rule")}

type Kind = Literal["dead_letters", "queue_age", "money", "fraud", "payments", "service"]
type Cause = Literal["throttle", "timeout", "other", "unknown"]

PLAYBOOK: dict[Kind, tuple[ActionName, ...]] = {
    "dead_letters": ("redrive",),
    "queue_age": ("raise_concurrency",),
    "money": ("hold_orders",),
    "fraud": ("stop_release", "roll_back_flags", "hold_orders"),
    "payments": ("stop_release", "roll_back_flags"),
    "service": ("stop_release",),
}

_FUNCTIONS: dict[str, Kind] = {"fraud-screen": "fraud", "payments-authorize": "payments"}


class Metric(Struct, frozen=True):
    """A metric that an alarm watches."""

    namespace: str
    name: str
    dimensions: dict[str, str] = {}


class Alarm(Struct, frozen=True):
    """An alarm's change to a state."""

    name: str
    state: str
    changed_at: datetime
    metrics: tuple[Metric, ...] = ()


class Signal(Struct, frozen=True):
    """The kind of fault that an alarm signals; `queue` is the short name of a queue."""

    kind: Kind
    queue: str = ""


class DeadLetter(Struct, frozen=True):
    """A dead letter: the cause of its failure, and whether it was redriven before."""

    cause: Cause
    redriven: bool


class Consumer(Struct, frozen=True):
    """A queue's consumer: its event source mapping and concurrency limit, the waiting messages, and whether it fails."""

    mapping: str
    maximum: int | None
    waiting: int
    fails: bool


class FlagState(Struct, frozen=True):
    """The served feature flags: document, version, deployment number and time, and whether there is an earlier deployment."""

    document: dict[str, Any]
    version: str
    number: int = 0
    deployed_at: datetime | None = None
    previous: int = 0

    @property
    def holds(self) -> bool:
        """Whether every order is held."""
        return self.document.get("hold_every_order") is True

    @property
    def remediates(self) -> bool:
        """Whether the flag `remediation` allows automatic remediation, as it does by default."""
        return self.document.get("remediation", True) is True


class Situation(Struct, frozen=True):
    """The stack's state at the decision; fields that the signal's actions do not need have their defaults."""

    now: datetime
    alarm_state: str
    flags: FlagState
    dead_letters: tuple[DeadLetter, ...] = ()
    consumer: Consumer | None = None
    releases: int = 0


class Action(Struct, frozen=True):
    """An action to perform on a target.

    `maximum` is the new concurrency of the event source mapping `mapping`, `number` the flag deployment to roll back to.
    """

    action: ActionName
    target: str
    before: SystemState
    mapping: str = ""
    maximum: int = 0
    number: int = 0


class _MetricOf(Struct, frozen=True):
    metric: Metric


class _Watched(Struct, frozen=True, rename="camel"):
    metric_stat: _MetricOf | None = None


class _Configuration(Struct, frozen=True):
    metrics: tuple[_Watched, ...] = ()


class _State(Struct, frozen=True):
    value: str
    timestamp: str


class _Detail(Struct, frozen=True, rename="camel"):
    alarm_name: str
    state: _State
    configuration: _Configuration = _Configuration()


def alarm_of(detail: Mapping[str, Any]) -> Alarm:
    """Return the alarm of CloudWatch's event "CloudWatch Alarm State Change".

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html

    Raises:
        msgspec.ValidationError: the event has another shape.
    """
    found = msgspec.convert(detail, _Detail)
    metrics = tuple(one.metric_stat.metric for one in found.configuration.metrics if one.metric_stat)
    return Alarm(found.alarm_name, found.state.value, datetime.fromisoformat(found.state.timestamp), metrics)


def signal_of(alarm: Alarm, stack: str) -> Signal | None:
    """Return the signal of an alarm of the stack, or None if no action is on the list for it."""
    return next((signal for metric in alarm.metrics if (signal := _signal(metric, stack))), None)


def _signal(metric: Metric, stack: str) -> Signal | None:
    queue = _own(metric.dimensions.get("QueueName", ""), stack)
    function = _own(metric.dimensions.get("FunctionName", ""), stack)
    match metric.namespace, metric.name:
        case "AWS/SQS", "ApproximateNumberOfMessagesVisible" if queue in _REDRIVABLE:
            return Signal("dead_letters", _REDRIVABLE[queue])
        case "AWS/SQS", "ApproximateAgeOfOldestMessage" if queue in LIMITS:
            return Signal("queue_age", queue)
        case "AWS/Lambda", "Errors" if function:
            return Signal(_FUNCTIONS.get(function, "service"))
        case "AWS/ApiGateway", "5XXError" if metric.dimensions.get("ApiName") == stack:
            return Signal("service")
        case "AWS/States", "ExecutionsFailed" | "ExecutionsTimedOut" if metric.dimensions.get("StateMachineArn", "").endswith(
            f":{stack}-fulfilment"
        ):
            return Signal("service")
        case own, "LedgerDifferences" | "PaymentsDifferent" if own == f"OrderPipeline/{stack}":
            return Signal("money")
        case _:
            return None


def _own(name: str, stack: str) -> str:
    """Return a resource's name without the stack's prefix; empty for other stacks' resources."""
    prefix = f"{stack}-"
    return name.removeprefix(prefix) if name.startswith(prefix) else ""


def cause_of(error: str) -> Cause:
    """Return the cause that an error names: its code, type or message."""
    if not error:
        return "unknown"
    if _THROTTLE.search(error):
        return "throttle"
    return "timeout" if _TIMEOUT.search(error) else "other"


def decide(signal: Signal | None, situation: Situation) -> Action | tuple[Refusal, ...]:
    """Return the action to perform, or the reasons why there is none."""
    if not situation.flags.remediates:
        return (Refusal("switched_off"),)
    if signal is None:
        return (Refusal("not_on_the_list"),)
    if situation.alarm_state != "ALARM":
        return (Refusal("alarm_is_over"),)
    refusals: list[Refusal] = []
    for name in PLAYBOOK[signal.kind]:
        found = _RULES[name](signal, situation)
        if isinstance(found, Action):
            return found
        refusals.append(Refusal(found, name))
    return tuple(refusals)


def _redrive(signal: Signal, situation: Situation) -> Action | Reason:
    causes = {message.cause for message in situation.dead_letters}
    if not situation.dead_letters:
        return "no_dead_letters"
    if any(message.redriven for message in situation.dead_letters):
        return "redriven_before"
    if "other" in causes:
        return "cause_not_transient"
    if "unknown" in causes:
        return "cause_unknown"
    return Action("redrive", signal.queue, SystemState(dead_letters=len(situation.dead_letters)))


def _raise_concurrency(signal: Signal, situation: Situation) -> Action | Reason:
    consumer = situation.consumer
    if consumer is None or consumer.maximum is None:
        return "no_limit"
    if consumer.fails:
        return "consumer_fails"
    if not consumer.waiting:
        return "no_backlog"
    raised = min(consumer.maximum * RAISE_FACTOR, LIMITS[signal.queue])
    if raised <= consumer.maximum:
        return "at_the_limit"
    before = SystemState(maximum_concurrency=consumer.maximum)
    return Action("raise_concurrency", signal.queue, before, mapping=consumer.mapping, maximum=raised)


def _hold_orders(_: Signal, situation: Situation) -> Action | Reason:
    flags = situation.flags
    if flags.holds:
        return "held_already"
    return Action("hold_orders", "flags", SystemState(flags=flags.version, hold_every_order=False))


def _roll_back_flags(_: Signal, situation: Situation) -> Action | Reason:
    flags = situation.flags
    if not (flags.previous and flags.deployed_at and situation.now - flags.deployed_at <= RECENT):
        return "no_recent_change"
    return Action("roll_back_flags", "flags", SystemState(flags=flags.version, hold_every_order=flags.holds), number=flags.previous)


def _stop_release(_: Signal, situation: Situation) -> Action | Reason:
    if not situation.releases:
        return "no_release"
    return Action("stop_release", "release", SystemState(releases=situation.releases))


_RULES: dict[ActionName, Callable[[Signal, Situation], Action | Reason]] = {
    "redrive": _redrive,
    "raise_concurrency": _raise_concurrency,
    "hold_orders": _hold_orders,
    "roll_back_flags": _roll_back_flags,
    "stop_release": _stop_release,
}


def rolled_back(current: Mapping[str, Any], previous: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags of an earlier deployment. A roll-back neither ends a hold nor switches remediation."""
    switch = {name: current[name] for name in ("remediation",) if name in current}
    held = {"hold_every_order": True} if current.get("hold_every_order") is True else {}
    return {name: value for name, value in previous.items() if name != "remediation"} | held | switch
