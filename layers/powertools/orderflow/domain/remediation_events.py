"""The events of automatic remediation. They belong to no order, so their envelope has no order id and no version."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from orderflow.domain.values import Moment

SOURCE = "operations"

ActionName = Literal["redrive", "raise_concurrency", "restore_concurrency", "hold_orders", "roll_back_flags", "stop_release"]
Reason = Literal[
    "switched_off",
    "not_on_the_list",
    "alarm_is_over",
    "too_soon",
    "failed",
    "no_dead_letters",
    "redriven_before",
    "cause_unknown",
    "cause_not_transient",
    "no_backlog",
    "consumer_fails",
    "no_limit",
    "at_the_limit",
    "held_already",
    "no_recent_change",
    "no_release",
]


class AlarmChange(Struct, frozen=True):
    """The state change of an alarm that started a remediation."""

    name: Annotated[str, Meta(description="Name of the alarm")]
    changed_at: Moment


class SystemState(Struct, frozen=True, omit_defaults=True):
    """The part of the system that an action changes, before or after it; fields of other actions are missing."""

    dead_letters: Annotated[int | None, Meta(description="Messages in the dead-letter queue; ten at most are counted before")] = None
    moved: Annotated[int | None, Meta(description="Messages that were redriven")] = None
    failed: Annotated[int | None, Meta(description="Messages that could not be redriven")] = None
    maximum_concurrency: Annotated[int | None, Meta(description="MaximumConcurrency of the queue's event source mapping")] = None
    flags: Annotated[str | None, Meta(description="Version of the feature flags, as `make flags` prints it")] = None
    hold_every_order: bool | None = None
    releases: Annotated[int | None, Meta(description="CodeDeploy deployments in progress")] = None


class Refusal(Struct, frozen=True):
    """An action that was not performed, and the reason; `any` where the reason holds for every action."""

    reason: Reason
    action: ActionName | Literal["any"] = "any"


class RemediationData(Struct, frozen=True):
    """The base of the events' data. `schema_version` is part of its contract."""

    type: ClassVar[str]
    schema_version: ClassVar[int] = 1

    alarm: AlarmChange


class RemediationPerformed(RemediationData, frozen=True):
    """An alarm started an automatic remediation."""

    type: ClassVar[str] = "RemediationPerformed"

    action: ActionName
    target: Annotated[str, Meta(description="Queue, feature flags or release that the action changed")]
    before: SystemState
    after: SystemState


class RemediationRefused(RemediationData, frozen=True):
    """An alarm started no automatic remediation, or one that failed; then its effect is unknown."""

    type: ClassVar[str] = "RemediationRefused"

    refusals: Annotated[tuple[Refusal, ...], Meta(min_length=1, description="The actions in the order in which they were considered")]
    before: SystemState


EVENTS: tuple[type[RemediationData], ...] = (RemediationPerformed, RemediationRefused)


class OperationsEvent(Struct, frozen=True, kw_only=True):
    """The envelope of an event of operations: that of an order's event without `order_id` and `order_version`."""

    event_id: Annotated[str, Meta(description="Unique, and the same for every delivery of the event")]
    type: Annotated[str, Meta(description="Type of the event; on the bus, the detail type as well")]
    schema_version: Annotated[int, Meta(description="Version of the type's contract")] = 1
    occurred_at: Moment
    source: Annotated[str, Meta(description="Producing context; on the bus, the source as well")] = SOURCE
    correlation_id: Annotated[str, Meta(description="ARN of the execution of the remediation workflow")]
    causation_id: Annotated[str | None, Meta(description="Id of CloudWatch's event about the alarm")]
    data: RemediationData


class _Envelope(Struct, frozen=True):
    event_id: str
    type: str
    schema_version: int
    occurred_at: Moment
    source: Literal["operations"]
    correlation_id: str
    causation_id: str | None
    data: msgspec.Raw


_envelopes = msgspec.json.Decoder(_Envelope)
_TYPES = {event.type: event for event in EVENTS}


def decode(raw: bytes | str) -> OperationsEvent:
    """Read an event from its JSON document.

    Raises:
        msgspec.DecodeError: it is not an event of remediation.
    """
    found = _envelopes.decode(raw)
    kind = _TYPES.get(found.type)
    if kind is None or found.schema_version != kind.schema_version:
        message = f"{found.type} of version {found.schema_version} is not an event of operations"
        raise msgspec.ValidationError(message)
    return OperationsEvent(
        event_id=found.event_id,
        type=found.type,
        occurred_at=found.occurred_at,
        correlation_id=found.correlation_id,
        causation_id=found.causation_id,
        data=msgspec.json.decode(found.data, type=kind),
    )
