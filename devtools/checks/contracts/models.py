"""JSON Schemas of the events as they are on the bus, made from the models that the functions decode with."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from orderflow.domain.events import EVENT_TYPES, Event, EventData
from orderflow.domain.ledger_events import LedgerDifferenceFound

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def present() -> dict[str, tuple[int, dict[str, Any]]]:
    """Return the version of every event type that is written now, and its schema."""
    facts = {name: (fact.schema_version, _of_fact(fact)) for name, fact in EVENT_TYPES.items()}
    return {**facts, LedgerDifferenceFound.type: _of_difference()}


def _of_fact(fact: type[EventData]) -> dict[str, Any]:
    """Return the schema of the envelope with this fact in it."""
    (_, data), parts = msgspec.json.schema_components((Event, fact), ref_template="#/$defs/{name}")
    envelope = parts.pop(Event.__name__)
    del parts[EventData.__name__]
    envelope["description"] = parts[fact.__name__].pop("description")
    said = {"type": {"const": fact.__name__}, "schema_version": {"const": fact.schema_version}, "data": data}
    return _document(fact.__name__, fact.schema_version, _saying(envelope, said), parts)


def _of_difference() -> tuple[int, dict[str, Any]]:
    _, parts = msgspec.json.schema_components((LedgerDifferenceFound,), ref_template="#/$defs/{name}")
    envelope = parts.pop(LedgerDifferenceFound.__name__)
    # What has a default in the model is never anything else, and always written.
    said = {name: {"const": field.pop("default")} for name, field in envelope["properties"].items() if "default" in field}
    envelope["required"] = list(envelope["properties"])
    version = said["schema_version"]["const"]
    return version, _document(LedgerDifferenceFound.type, version, _saying(envelope, said), parts)


def _saying(envelope: dict[str, Any], said: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return an envelope's schema with what this type of event says in some of its fields."""
    return {**envelope, "properties": {name: {**field, **said.get(name, {})} for name, field in envelope["properties"].items()}}


def _document(name: str, version: int, envelope: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    head = {"$schema": DIALECT, "$id": identifier(name, version), "title": name, "description": envelope["description"]}
    return _plain({**head, **{key: envelope[key] for key in ("type", "properties", "required")}, "$defs": dict(sorted(parts.items()))})


def identifier(name: str, version: int) -> str:
    """Return the URI of a version of an event's schema."""
    return f"urn:order-pipeline:event:{name}:{version}"


def _plain(value: Any) -> Any:
    """Return a document in words that every tool takes: a line for each paragraph of a description, and no lookahead in a pattern.

    Without it `$` is the end of the text everywhere but in Python, where the models mean it to be.
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
