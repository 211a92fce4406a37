"""JSON Schemas of the published events, generated from the models that the functions decode with."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from orderflow.domain import remediation_events
from orderflow.domain.events import EVENT_TYPES, Event, EventData
from orderflow.domain.ledger_events import LedgerDifferenceFound
from orderflow.domain.remediation_events import OperationsEvent, RemediationData, SystemState

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def current_schemas() -> dict[str, tuple[int, dict[str, Any]]]:
    """Return the current version of every event type and its schema."""
    known = {name: (kind.schema_version, _of_event(kind)) for name, kind in EVENT_TYPES.items()}
    operations = {data.type: (data.schema_version, _of_operations(data)) for data in remediation_events.EVENTS}
    return {**known, LedgerDifferenceFound.type: _of_difference(), **operations}


def _of_event(kind: type[EventData]) -> dict[str, Any]:
    """Return the schema of the envelope with this event data."""
    (_, data), parts = msgspec.json.schema_components((Event, kind), ref_template="#/$defs/{name}")
    envelope = parts.pop(Event.__name__)
    del parts[EventData.__name__]
    envelope["description"] = parts[kind.__name__].pop("description")
    fixed = {"type": {"const": kind.__name__}, "schema_version": {"const": kind.schema_version}, "data": data}
    return _document(kind.__name__, kind.schema_version, _with_values(envelope, fixed), parts)


def _of_difference() -> tuple[int, dict[str, Any]]:
    _, parts = msgspec.json.schema_components((LedgerDifferenceFound,), ref_template="#/$defs/{name}")
    envelope = parts.pop(LedgerDifferenceFound.__name__)
    # Fields with a default in the model always have that value.
    fixed = {name: {"const": field.pop("default")} for name, field in envelope["properties"].items() if "default" in field}
    envelope["required"] = list(envelope["properties"])
    version = fixed["schema_version"]["const"]
    return version, _document(LedgerDifferenceFound.type, version, _with_values(envelope, fixed), parts)


def _of_operations(kind: type[RemediationData]) -> dict[str, Any]:
    """Return the schema of the envelope of operations with this data."""
    (_, data), parts = msgspec.json.schema_components((OperationsEvent, kind), ref_template="#/$defs/{name}")
    envelope = parts.pop(OperationsEvent.__name__)
    del parts[RemediationData.__name__]
    envelope["description"] = parts[kind.__name__].pop("description")
    envelope["required"] = list(envelope["properties"])
    fixed = {
        "type": {"const": kind.type},
        "schema_version": {"const": kind.schema_version},
        "source": {"const": remediation_events.SOURCE},
        "data": data,
    }
    for name in ("schema_version", "source"):
        del envelope["properties"][name]["default"]
    # OpenAPI 3.0, the format of EventBridge's registry, has no empty list of required fields.
    del parts[SystemState.__name__]["required"]
    return _document(kind.type, kind.schema_version, _with_values(envelope, fixed), parts)


def _with_values(envelope: dict[str, Any], fixed: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return an envelope's schema with the fixed values of this event type."""
    return {**envelope, "properties": {name: {**field, **fixed.get(name, {})} for name, field in envelope["properties"].items()}}


def _document(name: str, version: int, envelope: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    head = {"$schema": DIALECT, "$id": identifier(name, version), "title": name, "description": envelope["description"]}
    return _plain({**head, **{key: envelope[key] for key in ("type", "properties", "required")}, "$defs": dict(sorted(parts.items()))})


def identifier(name: str, version: int) -> str:
    """Return the URI of a version of an event's schema."""
    return f"urn:order-pipeline:event:{name}:{version}"


def _plain(value: Any) -> Any:
    """Return a document that every tool accepts: one line per paragraph of a description, no lookahead in patterns.

    Without the lookahead, `$` is the end of the text in every language but Python.
    """
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    return {key: _worded(key, item) for key, item in cast("dict[str, Any]", value).items()}


def _worded(key: str, value: Any) -> Any:
    match key, value:
        case "description", str():
            return re.sub(r"(?<!\n)\n(?![\n|])", " ", value)
        case "pattern", str():
            return value.removesuffix(r"(?!\n)")
        case _:
            return _plain(value)
