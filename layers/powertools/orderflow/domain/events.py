"""The events of an order: every type's data, and their JSON documents.

The documents are the contract between contexts: the order log, the bus and the stream carry the same. Readers ignore unknown
fields, so a new optional field needs no new version. Every event type is an attribute of this module; its facet defines it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from orderflow.domain.event import *
from orderflow.domain.facets import *
from orderflow.domain.order_state import *
from orderflow.domain.registry import *
from orderflow.domain.values import *


class UnknownEvent(ValueError):
    """The envelope names an event type, or a version of one, that this code does not know."""


class _Envelope(Struct, frozen=True, kw_only=True):
    event_id: str
    type: str
    schema_version: int
    occurred_at: Moment
    source: str
    correlation_id: str
    causation_id: str | None
    order_id: str
    order_version: int
    data: msgspec.Raw
    recorded_at: Moment | None = None
    trace: str | None = None


_encoder = msgspec.json.Encoder()
_UNDELIVERABLE = (b"\xef\xbf\xbe", b"\xef\xbf\xbf")
_envelopes = msgspec.json.Decoder(_Envelope)


def encode(event: Event) -> bytes:
    """Return the event as a JSON document, times as RFC 3339 in UTC.

    U+FFFE and U+FFFF become U+FFFD: EventBridge would take them, but could not deliver the event to any queue.
    """
    document = _encoder.encode(event)
    for character in _UNDELIVERABLE:
        if character in document:
            document = document.replace(character, b"\xef\xbf\xbd")
    return document


def decode(raw: bytes | str) -> Event:
    """Read an event from its JSON document; one of an older version is read as the present one.

    Raises:
        UnknownEvent: its type, or this version of it, is not known here.
        msgspec.DecodeError: it is not JSON, or not of the event's shape (ValidationError).
    """
    envelope = _envelopes.decode(raw)
    kind = EVENT_TYPES.get(envelope.type)
    if kind is None:
        raise UnknownEvent(envelope.type)
    if envelope.schema_version == kind.schema_version:
        data = msgspec.json.decode(envelope.data, type=kind)
    else:
        data = msgspec.convert(_upcast(envelope, kind.schema_version), kind)
    return Event(
        event_id=envelope.event_id,
        type=envelope.type,
        schema_version=kind.schema_version,
        occurred_at=envelope.occurred_at,
        source=envelope.source,
        correlation_id=envelope.correlation_id,
        causation_id=envelope.causation_id,
        order_id=envelope.order_id,
        order_version=envelope.order_version,
        data=data,
        recorded_at=envelope.recorded_at,
        trace=envelope.trace,
    )


def _upcast(envelope: _Envelope, present: int) -> dict[str, Any]:
    """Return the envelope's data in the version `present` of its type."""
    data = msgspec.json.decode(envelope.data, type=dict[str, Any])
    version = envelope.schema_version
    while version != present:
        step = UPCASTERS.get((envelope.type, version))
        if step is None:
            message = f"{envelope.type} of version {envelope.schema_version}"
            raise UnknownEvent(message)
        try:
            data, version = step(data), version + 1
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            message = f"the data is not of {envelope.type} of version {version}"
            raise msgspec.ValidationError(message) from error
    return data
