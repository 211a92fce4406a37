"""The signals of alarms: which fault an alarm of the stack reports, by the metric that it watches, and the cause of an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from operations.domain.alarm_names import NAMES
from operations.redrive_routes import OPERATIONS, QUEUES, dead_letters

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

# The steps whose errors an alarm watches.
FUNCTIONS: dict[str, Kind] = {
    "inventory-reserve": "service",
    "fraud-screen": "fraud",
    "payments-authorize": "payments",
    "orders-confirm": "service",
}


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


def is_own(alarm: Alarm, stack: str) -> bool:
    """Return whether an alarm is the stack's: the name of another stack, such as `shop-eu` beside `shop`, may begin with the stack's."""
    return _own(alarm.name, stack) in NAMES


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
        case "AWS/Lambda", "Errors" if function in FUNCTIONS:
            return Signal(FUNCTIONS[function])
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
    """Return a name without the stack's prefix, or an empty one. A known name has to follow: the prefix may be another stack's as well."""
    prefix = f"{stack}-"
    return name.removeprefix(prefix) if name.startswith(prefix) else ""


def cause_of(error: str) -> Cause:
    """Return the cause that an error names: its code, type or message."""
    if not error:
        return "unknown"
    if _THROTTLE.search(error):
        return "throttle"
    return "timeout" if _TIMEOUT.search(error) else "other"
