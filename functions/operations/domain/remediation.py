"""Decides which automatic remediation an alarm starts: the allow-list of actions, and the limits of each.

| signal | actions, the first possible one is performed |
|---|---|
| `dead_letters`: messages in a dead-letter queue | redrive |
| `queue_age`: a queue's oldest message is too old | raise the consumer's concurrency |
| `money`: ledger or payments differ | hold every order |
| `fraud`: orders cannot be screened | stop the release, roll the flags back, hold every order |
| `payments`: payments cannot be authorized | stop the release, roll the flags back |
| `service`: errors of the API, of the saga or of a step | stop the release |

An alarm on a queue's age that is `OK` again sets raised concurrency back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from operations.domain.alarm_signals import LIMITS, Cause, Kind, Signal
from orderflow.domain.remediation_events import ActionName, Reason, Refusal, SystemState

# A changed flag is suspected for this long.
RECENT = timedelta(hours=1)
# An action on one target is performed at most once in this time, whichever alarms start it. Longer than RECENT, so that a
# roll-back of flags is not itself rolled back.
COOL_DOWN = timedelta(hours=2)
MAX_REDRIVEN = 100
RAISE_FACTOR = 2
PLAYBOOK: dict[Kind, tuple[ActionName, ...]] = {
    "dead_letters": ("redrive",),
    "queue_age": ("raise_concurrency",),
    "money": ("hold_orders",),
    "fraud": ("stop_release", "roll_back_flags", "hold_orders"),
    "payments": ("stop_release", "roll_back_flags"),
    "service": ("stop_release",),
}


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


class Raise(Struct, frozen=True):
    """A raise of a consumer's concurrency by a remediation: the value before the first raise, and whether it is set back."""

    raised_to: int
    restore_to: int
    restored: bool


class FlagState(Struct, frozen=True):
    """The served feature flags: document, version, deployment number and time, and the number of an earlier deployment.

    `deploying` is the number of a deployment that is in progress or rolled back by AppConfig.
    """

    document: dict[str, Any]
    version: str
    number: int = 0
    deployed_at: datetime | None = None
    previous: int = 0
    deploying: int = 0

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
    last_raise: Raise | None = None
    releases: int = 0


class Action(Struct, frozen=True):
    """An action to perform on a target.

    `maximum` is the new concurrency of the event source mapping `mapping`, `restore_to` the one to set back to later, `number` the flag
    deployment to roll back to, `stops` the one in progress that is stopped instead.
    """

    action: ActionName
    target: str
    before: SystemState
    mapping: str = ""
    maximum: int = 0
    restore_to: int = 0
    number: int = 0
    stops: int = 0


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


def decide_restoration(signal: Signal, situation: Situation) -> Action | tuple[Refusal, ...]:
    """Return the action that sets raised concurrency back once the alarm is `OK` again, or why not; no reason if nothing is raised."""
    consumer, last = situation.consumer, situation.last_raise
    if situation.alarm_state != "OK" or consumer is None or last is None or not _is_raised(consumer, last):
        return ()
    if not situation.flags.remediates:
        return (Refusal("switched_off"),)
    before = SystemState(maximum_concurrency=consumer.maximum)
    return Action("restore_concurrency", signal.queue, before, mapping=consumer.mapping, maximum=last.restore_to)


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
    before, last = SystemState(maximum_concurrency=consumer.maximum), situation.last_raise
    restore_to = last.restore_to if last and _is_raised(consumer, last) else consumer.maximum
    return Action("raise_concurrency", signal.queue, before, mapping=consumer.mapping, maximum=raised, restore_to=restore_to)


def _is_raised(consumer: Consumer, last: Raise) -> bool:
    """Return whether the concurrency is the one that the last raise set: neither set back, nor changed by an operator."""
    return not last.restored and consumer.maximum == last.raised_to


def _hold_orders(_: Signal, situation: Situation) -> Action | Reason:
    flags = situation.flags
    if flags.holds:
        return "held_already"
    return Action("hold_orders", "flags", SystemState(flags=flags.version, hold_every_order=False))


def _roll_back_flags(_: Signal, situation: Situation) -> Action | Reason:
    flags = situation.flags
    before = SystemState(flags=flags.version, hold_every_order=flags.holds)
    if flags.deploying:
        return Action("roll_back_flags", "flags", before, stops=flags.deploying)
    if not (flags.previous and flags.deployed_at and situation.now - flags.deployed_at <= RECENT):
        return "no_recent_change"
    return Action("roll_back_flags", "flags", before, number=flags.previous)


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
