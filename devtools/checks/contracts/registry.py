"""The contracts as entries of the EventBridge schema registry: a CloudFormation template of its own, for its size.

The registry accepts OpenAPI 3.0, from which it generates code bindings, and JSON Schema draft 4, without bindings.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import yaml

from devtools.checks.contracts import catalogue
from devtools.checks.contracts.routes import PRODUCERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devtools.checks.contracts.catalogue import Contract

# EventBridge's envelope of an event.
_FRAME = {
    "version": {"type": "string"},
    "id": {"type": "string"},
    "detail-type": {"type": "string"},
    "source": {"type": "string"},
    "account": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
    "region": {"type": "string"},
    "resources": {"type": "array", "items": {"type": "string"}},
}


def template(contracts: Mapping[str, Contract]) -> str:
    """Return the template of the registry: a schema for every version of every event."""
    schemas = {
        f"{name}{version}": _entry(name, version, contract.schema if version == contract.version else catalogue.schema(name, version))
        for name, contract in contracts.items()
        for version in contract.versions
    }
    registry = {
        "Type": "AWS::EventSchemas::Registry",
        "Properties": {"RegistryName": {"Ref": "RegistryName"}, "Description": "The events of the order pipeline."},
    }
    document = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "The event schema registry of the order pipeline.",
        "Parameters": {"RegistryName": {"Type": "String", "Description": "Name of the registry."}},
        "Resources": {"Registry": registry, **schemas},
    }
    return f"# Written by `make contracts`.\n{yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10**6)}"


def _entry(name: str, version: int, schema: dict[str, Any]) -> dict[str, Any]:
    properties = {
        "RegistryName": {"Fn::GetAtt": ["Registry", "RegistryName"]},
        "SchemaName": f"{name}-{version}",
        "Type": "OpenApi3",
        "Description": schema["description"].partition("\n")[0],
        "Content": json.dumps(openapi(name, version, schema), separators=(",", ":"), ensure_ascii=False),
    }
    return {"Type": "AWS::EventSchemas::Schema", "Properties": properties}


def openapi(name: str, version: int, schema: dict[str, Any]) -> dict[str, Any]:
    """Return an event's schema for the registry: OpenAPI 3.0, with EventBridge's envelope."""
    frame: dict[str, Any] = {
        "type": "object",
        "required": [*_FRAME, "detail"],
        "x-amazon-events-detail-type": name,
        "properties": {**_FRAME, "detail": {"$ref": f"#/components/schemas/{name}Event"}},
    }
    match PRODUCERS[name]:
        case (source,):
            frame["x-amazon-events-source"] = source
        case _:
            # The registry accepts one example.
            pass
    event = {key: value for key, value in schema.items() if key not in {"$schema", "$id", "$defs"}}
    parts = {part: _older(body) for part, body in schema["$defs"].items()}
    return {
        "openapi": "3.0.0",
        "info": {"title": name, "version": f"{version}.0.0", "description": schema["description"]},
        "paths": {},
        "components": {"schemas": {"AWSEvent": frame, f"{name}Event": _older(event), **parts}},
    }


def _older(schema: Any) -> Any:
    """Translate a schema of JSON Schema 2020-12, as far as events use it, to OpenAPI 3.0."""
    if isinstance(schema, list):
        return [_older(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    said: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", schema).items():
        match key:
            case "$ref":
                said[key] = value.replace("#/$defs/", "#/components/schemas/")
            case "const":
                said["enum"] = [value]
            case "examples":
                said["example"] = value[0]
            case "properties":
                said[key] = {name: _older(field) for name, field in value.items()}
            case "anyOf" if {"type": "null"} in value:
                said |= _nullable([_older(part) for part in value if part != {"type": "null"}])
            case "enum" | "default":
                said[key] = value
            case _:
                said[key] = _older(value)
    return said


def _nullable(parts: list[dict[str, Any]]) -> dict[str, Any]:
    match parts:
        case [{"$ref": _}]:
            # `nullable` beside a reference does not allow null in OpenAPI 3.0.3.
            return {"anyOf": [*parts, {"type": "object", "nullable": True, "enum": [None]}]}
        case [{"enum": values, **rest}]:
            # `nullable` needs a type, and an enumeration must name null as well.
            return {"type": "string", "nullable": True, **rest, "enum": [*values, None]}
        case [only]:
            return {"nullable": True, **only}
        case _:
            return {"nullable": True, "anyOf": parts}
