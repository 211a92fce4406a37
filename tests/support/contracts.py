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
# It belongs to no order, so only its envelope on the bus has the type.
UNNAMED = "LedgerDifferenceFound"
DATES = FormatChecker(["date-time"])


@cache
def validator(kind: str, version: int) -> Draft202012Validator:
    """Return what validates events of this version."""
    return Draft202012Validator(schema(kind, version), format_checker=DATES)


def problems(event: Any) -> list[str]:
    """Return the problems of an event, a JSON document as on the bus, by the contract that it names."""
    key = event.get("type", UNNAMED), event.get("schema_version")
    if key not in VERSIONS:
        return [f"no contract: {key}"]
    return [f"{key[0]} {error.json_path}: {error.message}" for error in validator(*key).iter_errors(event)]


def carried(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every event within a document, at any depth, also in texts of JSON and base64."""
    match value:
        case dict() if value.keys() >= ENVELOPE:
            yield value
        case dict():
            for part in value.values():
                yield from carried(part)
        case list():
            for part in value:
                yield from carried(part)
        case str() if (document := _document(value)) is not None:
            yield from carried(document)
        case _:
            pass


def _document(text: str) -> Any:
    """Return the JSON object that a text is, plain or in base64; None for any other text."""
    if not text.startswith("{"):
        try:
            text = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
    try:
        return json.loads(text) if text.startswith("{") else None
    except json.JSONDecodeError:
        return None
