"""A canary release: two versions of a function behind a weighted alias, alarms by the minute, and the rollback.

Weights, minutes and thresholds are those of the template. An alarm evaluates a minute when it is over, and CodeDeploy moves the
alias one minute later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from devtools import template
from devtools.target import ROOT
from tests.faults.simulation import Functions, Handler

CANARY_MINUTES = 5
CANARY_WEIGHT = 0.1
# A client's requests besides placing an order: several reads of its state, and its order list.
OTHER_REQUESTS = 9
STEPS = ("InventoryReserve", "FraudScreen", "PaymentsAuthorize", "OrdersConfirm")
ALARMS: Mapping[str, Any] = {
    name: one["Properties"] for name, one in template.source(ROOT / "observability.yaml")["Resources"].items() if name.startswith("Release")
}


class Broken(RuntimeError):
    """The error of a faulty version."""


def fails_before(_: Handler) -> Handler:
    """Return a version that fails before any effect."""

    def handler(_event: Any, _context: Any) -> Any:
        raise Broken

    return handler


def fails_after(good: Handler) -> Handler:
    """Return a version that takes effect, such as charging a card, and then fails."""

    def handler(event: Any, context: Any) -> Any:
        good(event, context)
        raise Broken

    return handler


@dataclass
class Alarm:
    """An alarm of the template, on if enough of its latest minutes have a ratio above the threshold."""

    properties: Mapping[str, Any]
    minutes: list[float] = field(default_factory=list[float])

    def add_minute(self, failed: int, of: int) -> None:
        """Add the counts of a complete minute."""
        self.minutes.append(failed / of if of else 0.0)

    @property
    def on(self) -> bool:
        """Return whether the alarm is in ALARM state after the latest minute."""
        latest = self.minutes[-self.properties["EvaluationPeriods"] :]
        return sum(ratio > self.properties["Threshold"] for ratio in latest) >= self.properties["DatapointsToAlarm"]


@dataclass
class Canary:
    """A release of one function. `weight` is the share of invocations that the new version gets."""

    good: Functions
    name: str
    version: Callable[[Handler], Handler]
    watched: bool = True
    seed: int = 1
    weight: float = CANARY_WEIGHT
    taken_back: int | None = None
    by_new_version: int = 0
    _minute: int = 0
    _calls: dict[str, int] = field(default_factory=dict[str, int])
    _failed: dict[str, int] = field(default_factory=dict[str, int])
    _api: Alarm = field(default_factory=lambda: Alarm(ALARMS["ReleaseApiFaultsAlarm"]))
    _steps: Alarm = field(default_factory=lambda: Alarm(ALARMS["ReleaseStepErrorsAlarm"]))

    def __post_init__(self) -> None:
        """Build the new version and seed the routing."""
        self._random = Random(self.seed)
        self._new = self.version(self.good[self.name])

    def functions(self) -> Functions:
        """Return the pipeline's functions; every invocation is routed and counted."""
        return Functions({name: self._routed(name) for name in self.good.handlers})

    def _routed(self, name: str) -> Handler:
        def handler(event: Any, context: Any) -> Any:
            self._calls[name] = self._calls.get(name, 0) + 1
            chosen = self.good[name]
            if name == self.name and self._random.random() < self.weight:
                self.by_new_version += 1
                chosen = self._new
            try:
                return chosen(event, context)
            except Exception:
                self._failed[name] = self._failed.get(name, 0) + 1
                raise

        return handler

    def end_minute(self) -> None:
        """Evaluate the alarms for the minute, then roll the release back or complete it after the canary."""
        if self.weight and self.watched and (self._api.on or self._steps.on):
            self.weight, self.taken_back = 0.0, self._minute
        orders = self._calls.get("OrdersPlace", 0)
        self._api.add_minute(self._failed.get("OrdersPlace", 0), orders * (1 + OTHER_REQUESTS))
        self._steps.add_minute(sum(self._failed.get(step, 0) for step in STEPS), sum(self._calls.get(step, 0) for step in STEPS))
        self._calls, self._failed = {}, {}
        self._minute += 1
        if self._minute == CANARY_MINUTES and self.weight:
            self.weight = 1.0
