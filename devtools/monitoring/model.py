"""The parts of the description: series of a metric, alarms on them, and groups of alarms that notify together."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from orderflow.domain.metrics import Metric

OWN = "OrderPipeline/${StackName}"

Severity = Literal["page", "ticket"]
Comparison = Literal["GreaterThanThreshold", "LessThanThreshold", "LessThanLowerOrGreaterThanUpperThreshold"]


@dataclass(frozen=True)
class Series:
    """A metric with the values of its dimensions and a statistic. `${StackName}` and `${Stage}` stand for the observed stack's."""

    namespace: str
    metric: str
    stat: str
    dimensions: tuple[tuple[str, str], ...] = ()
    label: str = ""


def own(metric: Metric | str, stat: str, label: str = "", **dimensions: str) -> Series:
    """Return a series of a metric that the functions, or a metric filter, record."""
    name = metric if isinstance(metric, str) else metric.name
    return Series(OWN, name, stat, tuple(dimensions.items()), label)


def queue(name: str, metric: str, stat: str = "Maximum", label: str = "") -> Series:
    """Return a series of a queue by the queue's name without the stack's."""
    return Series("AWS/SQS", metric, stat, (("QueueName", f"${{StackName}}-{name}"),), label)


def function(name: str, metric: str, stat: str = "Sum", label: str = "", *, live: bool = False) -> Series:
    """Return a series of a function by its name without the stack's; `live` is its alias of that name alone."""
    full = f"${{StackName}}-{name}"
    return Series("AWS/Lambda", metric, stat, (("FunctionName", full), *((("Resource", f"{full}:live"),) if live else ())), label)


def workflow(name: str, metric: str, stat: str = "Sum", label: str = "") -> Series:
    """Return a series of a state machine by its name without the stack's."""
    arn = f"arn:${{AWS::Partition}}:states:${{AWS::Region}}:${{AWS::AccountId}}:stateMachine:${{StackName}}-{name}"
    return Series("AWS/States", metric, stat, (("StateMachineArn", arn),), label)


def api(metric: str, stat: str, label: str = "") -> Series:
    """Return a series of the API's stage."""
    return Series("AWS/ApiGateway", metric, stat, (("ApiName", "${StackName}"), ("Stage", "${Stage}")), label)


class Area(NamedTuple):
    """A part of the pipeline whose alarms notify together, with one severity."""

    name: str
    severity: Severity


ORDERS = Area("orders", "page")
FULFILMENT = Area("fulfilment", "page")
MONEY = Area("money", "page")
CONSUMERS = Area("consumers", "ticket")


@dataclass(frozen=True)
class Alarm:
    """An alarm on one series, or on an expression of several, which are named in it.

    `meaning` is a sentence for the operator on call, `runbook` the section of docs/runbooks.md that helps. A value breaches where it
    compares as `comparison` with `threshold` in all of the last `periods` periods of `period` seconds, or in `of` of them.
    """

    id: str
    area: Area
    runbook: str
    meaning: str
    series: dict[str, Series] = field(hash=False)
    threshold: float
    period: int = 60
    periods: int = 1
    of: int = 0
    expression: str = ""
    comparison: Comparison = "GreaterThanThreshold"
    missing: Literal["notBreaching", "breaching"] = "notBreaching"
    condition: str = "HasAlarms"

    @property
    def name(self) -> str:
        """The alarm's name without the stack's: the logical id in kebab case."""
        return kebab(self.id.removesuffix("Alarm"))


@dataclass(frozen=True)
class Group:
    """The alarms of an area, which notify together through a composite alarm.

    `pairs` are the service levels: the alarm of the long window, and the alarms of the short one, of which one has to be on as well.
    """

    id: str
    severity: Severity
    meaning: str
    alarms: tuple[Alarm, ...]
    pairs: tuple[tuple[Alarm, tuple[str, ...]], ...] = ()

    @property
    def rules(self) -> list[tuple[str, str]]:
        """The parts of the composite alarm's rule, of which one has to hold, each with the condition under which its alarms exist."""
        burning = [(f"({on(long.id)} AND {_any(short)})", long.condition) for long, short in self.pairs]
        return [*burning, *((on(alarm.id), alarm.condition) for alarm in self.alarms)]

    @property
    def name(self) -> str:
        """The composite alarm's name without the stack's, which ends in the severity."""
        return kebab(self.id.removesuffix("Alarm"))


def on(identifier: str) -> str:
    """Return the part of a composite alarm's rule that is true while an alarm, by its logical id, is in ALARM state."""
    return f'ALARM("${{{identifier}}}")'


def _any(identifiers: tuple[str, ...]) -> str:
    text = " OR ".join(map(on, identifiers))
    return f"({text})" if len(identifiers) > 1 else text


def kebab(identifier: str) -> str:
    """Return a logical id in kebab case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", identifier).lower()
