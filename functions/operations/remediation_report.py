"""Reports a remediation: its event goes to the bus and to the event stream, and with that into the archive and the audit archive."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from operations import remediation
from operations.domain import alarm_signals
from operations.domain.remediation import Action, Refusal, SystemState
from orderflow.aws.observability import logger
from orderflow.domain.remediation_events import AlarmChange, OperationsEvent, RemediationPerformed, RemediationRefused

if TYPE_CHECKING:
    from orderflow.aws.event_bus import EventBus
    from orderflow.aws.event_stream import EventStream


class _Redriven(Struct, frozen=True):
    moved: int
    failed: int


class Result(Struct, frozen=True):
    """The result of a redrive, or the error of an action that failed; empty for a refusal."""

    value: _Redriven | None = None
    error: str | None = field(name="Error", default=None)


class Run(Struct, frozen=True):
    """An execution of the workflow: CloudWatch's event, the decision, and the result of an action that another step performed."""

    alarm: dict[str, Any]
    execution: str
    started_at: datetime
    decision: remediation.Decision
    result: Result | None = None

    @property
    def alarm_name(self) -> str:
        """The name of the alarm."""
        return self.alarm["detail"]["alarmName"]

    @property
    def to_perform(self) -> Action:
        """The action to perform.

        Raises:
            ValueError: the decision has none.
        """
        if self.decision.action is None:
            message = f"the decision is {self.decision.outcome}, without an action"
            raise ValueError(message)
        return self.decision.action


class Reporter:
    """Publishes the events of remediations."""

    def __init__(self, bus: EventBus, stream: EventStream) -> None:
        """Publish on both."""
        self._bus = bus
        self._stream = stream

    def report(self, run: Run, result: Result | SystemState) -> dict[str, str]:
        """Publish the run's event, and return its outcome and a line for operators.

        Raises:
            NotPublished: bus or stream refused it.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: it may not be published.
        """
        data = _data(run, result)
        event = _event(run, data)
        document = msgspec.json.encode(event).decode()
        self._bus.put([self._bus.entry_of(event.source, event.type, event.occurred_at, document)])
        self._stream.put([(run.alarm_name, document)])
        text = remediation.summary(data)
        outcome = _outcome(data)
        logger.info(f"remediation_{outcome}", alarm=run.alarm_name, detail=text, event_id=event.event_id)
        return {"outcome": outcome, "message": f"{run.alarm_name}: {text}"}


def _outcome(data: RemediationPerformed | RemediationRefused) -> str:
    if isinstance(data, RemediationPerformed):
        return "performed"
    return "failed" if data.refusals[-1].reason == "failed" else "refused"


def _data(run: Run, result: Result | SystemState) -> RemediationPerformed | RemediationRefused:
    alarm, action = alarm_signals.alarm_of(run.alarm["detail"]), run.decision.action
    change = AlarmChange(alarm.name, alarm.changed_at)
    if action is None:
        return RemediationRefused(change, run.decision.refusals, SystemState())
    if isinstance(result, Result) and result.error is not None:
        return RemediationRefused(change, (Refusal("failed", action.action),), action.before)
    return RemediationPerformed(change, action.action, action.target, action.before, _after(result))


def _after(result: Result | SystemState) -> SystemState:
    if isinstance(result, SystemState):
        return result
    return SystemState(moved=result.value.moved, failed=result.value.failed) if result.value else SystemState()


def _event(run: Run, data: RemediationPerformed | RemediationRefused) -> OperationsEvent:
    """Return the event; every report of the same outcome has the same id and time."""
    digest = hashlib.sha256(f"{run.execution}\0{type(data).type}".encode()).hexdigest()
    return OperationsEvent(
        event_id=f"operations:{digest[:26]}",
        type=type(data).type,
        occurred_at=run.started_at,
        correlation_id=run.execution,
        causation_id=run.alarm.get("id"),
        data=data,
    )
