"""Validates events against their published schemas."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from devtools.checks.contracts.catalogue import SCHEMAS, schema

VERSIONS = sorted((path.parent.name, int(path.stem)) for path in SCHEMAS.glob("*/*.json") if path.stem.isdigit())
ENVELOPE = {"event_id", "schema_version", "source", "data"}
# This event belongs to no order, so its type is only in its envelope on the bus.
UNNAMED = "LedgerDifferenceFound"
DATES = FormatChecker(["date-time"])


@cache
def validator(kind: str, version: int) -> Draft202012Validator:
    """Return the validator for events of this version."""
    return Draft202012Validator(schema(kind, version), format_checker=DATES)


def problems(event: Any) -> list[str]:
    """Validate an event, a JSON document as on the bus, against its contract; return the violations."""
    key = event.get("type", UNNAMED), event.get("schema_version")
    if key not in VERSIONS:
        return [f"no contract: {key}"]
    return [f"{key[0]} {error.json_path}: {error.message}" for error in validator(*key).iter_errors(event)]


def embedded_events(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every event within a document, at any depth, also in strings of JSON or base64."""
    match value:
        case dict() if value.keys() >= ENVELOPE:
            yield value
        case dict():
            for part in value.values():
                yield from embedded_events(part)
        case list():
            for part in value:
                yield from embedded_events(part)
        case str() if (document := _document(value)) is not None:
            yield from embedded_events(document)
        case _:
            pass


def _document(text: str) -> Any:
    """Decode a string of JSON, plain or in base64, that holds an object; return None for any other string."""
    if not text.startswith("{"):
        try:
            text = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
    try:
        return json.loads(text) if text.startswith("{") else None
    except json.JSONDecodeError:
        return None
