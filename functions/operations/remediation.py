"""Automatic remediation of an alarm: decides on an action, performs it and reports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from operations.domain import alarm_signals
from operations.domain import remediation as rules
from operations.domain.alarm_signals import Alarm, Signal
from operations.domain.remediation import Action, Raise, Refusal, Situation, SystemState
from orderflow.domain.remediation_events import RemediationPerformed, RemediationRefused

if TYPE_CHECKING:
    from datetime import datetime

    from operations.consumers import Consumers
    from operations.dead_letter_reader import DeadLetterReader
    from operations.flag_deployments import FlagDeployments
    from operations.releases import Releases
    from operations.remediation_claims import Claims


class SituationReader:
    """Reads the parts of a situation that the rules need."""

    def __init__(
        self, *, alarms: Any, flags: FlagDeployments, consumers: Consumers, dead_letters: DeadLetterReader, releases: Releases
    ) -> None:
        """Read from these; `alarms` is a CloudWatch client."""
        self._alarms = alarms
        self._flags = flags
        self._consumers = consumers
        self._dead_letters = dead_letters
        self._releases = releases

    def read(self, alarm: Alarm, signal: Signal | None, now: datetime, last_raise: Raise | None = None) -> Situation:
        """Return the situation for the alarm's signal; `last_raise` is that of the queue's consumer."""
        actions = rules.PLAYBOOK[signal.kind] if signal else ()
        queue = signal.queue if signal else ""
        return Situation(
            now=now,
            alarm_state=self._state(alarm.name),
            flags=self._flags.state(),
            dead_letters=self._dead_letters.sample(queue) if "redrive" in actions else (),
            consumer=self._consumers.find(queue) if "raise_concurrency" in actions else None,
            last_raise=last_raise,
            releases=len(self._releases.in_progress()) if "stop_release" in actions else 0,
        )

    def _state(self, name: str) -> str:
        """Return the present state of an alarm; a deleted alarm has none."""
        found = self._alarms.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return found[0]["StateValue"] if found else ""


class Decision(Struct, frozen=True, omit_defaults=True):
    """The decision on an alarm: `redrive` or `perform` an action, `refused`, or `duplicate` for another execution's alarm.

    With `no_action`, the alarm is another stack's, or is `OK` again and nothing has to be set back.
    """

    outcome: str
    action: Action | None = None
    refusals: tuple[Refusal, ...] = ()


def decide(event: dict[str, Any], execution: str, *, stack: str, claims: Claims, situations: SituationReader, now: datetime) -> Decision:
    """Decide on an alarm's state change, once: a duplicate of the event is left to the execution that has claimed it.

    Raises:
        msgspec.ValidationError: the event is no alarm's change of state.
        botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: the situation cannot be read.
    """
    alarm = alarm_signals.alarm_of(event["detail"])
    if not alarm_signals.is_own(alarm, stack):
        return Decision("no_action")
    signal = alarm_signals.signal_of(alarm, stack)
    recovered = alarm.state == "OK"
    if recovered and (signal is None or signal.kind != "queue_age"):
        return Decision("no_action")
    if not claims.take_change(alarm, execution, now):
        return Decision("duplicate")
    last_raise = claims.last_raise(signal.queue, execution) if signal and signal.kind == "queue_age" else None
    situation = situations.read(alarm, signal, now, last_raise)
    found = rules.decide_restoration(signal, situation) if signal and recovered else rules.decide(signal, situation)
    if not isinstance(found, Action):
        return Decision("refused", refusals=found) if found else Decision("no_action")
    return _claimed(found, execution, claims, now)


def _claimed(action: Action, execution: str, claims: Claims, now: datetime) -> Decision:
    if action.action == "restore_concurrency":
        return Decision("perform", action) if claims.take_restoration(action.target, execution) else Decision("no_action")
    if not claims.take_target(action, execution, now):
        return Decision("refused", refusals=(Refusal("too_soon", action.action),))
    return Decision("redrive" if action.action == "redrive" else "perform", action)


class Remedies:
    """Performs actions. Each sets a state of the system, so that performing it again changes nothing."""

    def __init__(self, *, flags: FlagDeployments, functions: Any, releases: Releases) -> None:
        """Change these; `functions` is a Lambda client."""
        self._flags = flags
        self._functions = functions
        self._releases = releases

    def perform(self, action: Action, alarm: str) -> SystemState:
        """Perform an action and return the state afterwards.

        Raises:
            NotDeployedError: AppConfig rolled the changed flags back, or did not complete their deployment in time.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: it may be performed in part.
        """
        match action.action:
            case "raise_concurrency" | "restore_concurrency":
                self._functions.update_event_source_mapping(UUID=action.mapping, ScalingConfig={"MaximumConcurrency": action.maximum})
                return SystemState(maximum_concurrency=action.maximum)
            case "hold_orders":
                return self._deploy(self._flags.state().document | {"hold_every_order": True}, alarm)
            case "roll_back_flags" if action.stops:
                self._flags.stop(action.stops)
                return self._served()
            case "roll_back_flags":
                current = self._flags.state()
                # Flags that an operator has deployed since the decision remain.
                document = current.document if current.version != action.before.flags else self._flags.document(action.number)
                return self._deploy(rules.rolled_back(current.document, document), alarm)
            case "stop_release":
                self._releases.stop()
                return SystemState(releases=len(self._releases.in_progress()))
            case "redrive":
                message = "the workflow redrives dead letters by OperationsRedrive"
                raise NotImplementedError(message)

    def _served(self) -> SystemState:
        flags = self._flags.state()
        return SystemState(flags=flags.version, hold_every_order=flags.holds)

    def _deploy(self, document: dict[str, Any], alarm: str) -> SystemState:
        served = self._flags.state()
        version = served.version
        if served.document != document:
            version = self._flags.deploy(document, f"remediation of {alarm}"[:1024])
        elif served.number:
            self._flags.await_completion(served.number)
        return SystemState(flags=version, hold_every_order=document.get("hold_every_order") is True)


def summary(data: RemediationPerformed | RemediationRefused) -> str:
    """Return a remediation as one line for operators."""
    if isinstance(data, RemediationRefused):
        return ", ".join(f"{refusal.action} refused: {refusal.reason}" for refusal in data.refusals)
    before, after = (msgspec.json.encode(state).decode() for state in (data.before, data.after))
    return f"{data.action} on {data.target}: {before} before, {after} after"
