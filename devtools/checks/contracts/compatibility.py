"""Compatibility of two versions of a JSON Schema: pure rules.

Two readers change at different times. Consumers know the released schema and receive events of the new one; code with the new
schema reads events stored under the released one. A change is compatible if neither reader rejects or misses data. Readers ignore
unknown fields. A keyword without a rule here counts as incompatible for both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

type Schema = dict[str, Any]
type Reader = Literal["consumers", "stored"]

CONSUMERS: tuple[Reader, ...] = ("consumers",)
STORED: tuple[Reader, ...] = ("stored",)
BOTH: tuple[Reader, ...] = ("consumers", "stored")

# Annotations do not affect validity.
_ANNOTATIONS = frozenset({"$schema", "$id", "$defs", "$comment", "title", "description", "examples", "deprecated"})
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_VALUES = ("const", "enum")
_OBJECT = ("properties", "required", "additionalProperties")
_HANDLED = frozenset({"type", "anyOf", "items", "default", *_LOWER, *_UPPER, *_VALUES, *_OBJECT})
_KINDS: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    type(None): "null",
    list: "array",
    dict: "object",
}
_SAID = {
    "consumers": "consumers of the last release would reject or miss it",
    "stored": "events stored under the last release could not be decoded",
}


@dataclass(frozen=True)
class Change:
    """One difference: its place (`data.lines[].sku`; empty for the whole), a description, and the readers that it breaks."""

    place: str
    what: str
    breaks: tuple[Reader, ...] = ()

    @property
    def compatible(self) -> bool:
        """Whether no reader breaks."""
        return not self.breaks

    @property
    def effect(self) -> str:
        """The effect of the change as text."""
        return "compatible" if self.compatible else "INCOMPATIBLE: " + "; ".join(_SAID[reader] for reader in self.breaks)


def compare(old: Schema, new: Schema) -> list[Change]:
    """Return every difference between two schemas that affects validity, in the order of their fields.

    References are resolved inside each document; recursive schemas are not supported, because events have none.
    """
    return list(_compare(without_annotations(old), without_annotations(new)))


def without_annotations(schema: Schema) -> Schema:
    """Return a schema with resolved references and without annotations."""
    return _resolved(schema, schema)


def _resolved(value: Any, document: Schema) -> Any:
    if isinstance(value, list):
        return [_resolved(item, document) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    schema = cast("Schema", value)
    if "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        beside = {key: part for key, part in schema.items() if key != "$ref"}
        return _resolved({**target, **beside}, document)
    return {key: _part(key, part, document) for key, part in schema.items() if key not in _ANNOTATIONS}


def _part(key: str, part: Any, document: Schema) -> Any:
    match key:
        case "const" | "enum" | "default":
            return part
        case "properties":
            return {name: _resolved(field, document) for name, field in part.items()}
        case _:
            return _resolved(part, document)


def _compare(old: Schema, new: Schema) -> Iterator[Change]:
    before, after = _alternatives(old), _alternatives(new)
    if set(before) == set(after):
        for kind in before:
            yield from _same_kind(before[kind], after[kind])
    elif not _compatible_numbers(before, after):
        yield from _other_kinds(before, after)
    else:
        yield Change("", *_numbers(before, after))
    yield from _default(old, new)


def _alternatives(schema: Schema) -> dict[str, Schema]:
    """Return the schemas of a value by its kind of JSON value; "any" without a restriction.

    Two alternatives of one kind are compared as text only.
    """
    found: dict[str, Schema] = {}
    for part in schema.get("anyOf", [schema]):
        for kind in _kinds(part):
            narrowed = {key: value for key, value in part.items() if key not in {"type", "anyOf", "default"}}
            if "enum" in narrowed:
                narrowed["enum"] = [value for value in narrowed["enum"] if kind in {_kind(value), "any"}]
            name = json.dumps([kind, narrowed], sort_keys=True) if kind in found else kind
            found[name] = narrowed
    return found


def _kinds(schema: Schema) -> list[str]:
    if "anyOf" in schema:
        return [kind for part in schema["anyOf"] for kind in _kinds(part)]
    if "type" in schema:
        kinds: str | list[str] = schema["type"]
        return [kinds] if isinstance(kinds, str) else kinds
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return sorted({_kind(value) for value in values}) or ["any"]


def _kind(value: Any) -> str:
    return _KINDS[type(value)]


def _compatible_numbers(before: dict[str, Schema], after: dict[str, Schema]) -> bool:
    """Return whether integers on one side and numbers on the other are the only difference."""
    return {*before} ^ {*after} == {"integer", "number"} and len({*before} - {*after}) == 1


def _numbers(before: dict[str, Schema], after: dict[str, Schema]) -> tuple[str, tuple[Reader, ...]]:
    if "number" in after:
        wider = CONSUMERS if before["integer"] == after["number"] else BOTH
        return "type widened from integer to number", wider
    return "type narrowed from number to integer", STORED if before["number"] == after["integer"] else BOTH


def _other_kinds(before: dict[str, Schema], after: dict[str, Schema]) -> Iterator[Change]:
    removed, added = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    was, now = " or ".join(sorted(before)), " or ".join(sorted(after))
    if "any" in before:
        yield Change("", f"type narrowed from anything to {now}", STORED)
        return
    if "any" in after:
        yield Change("", f"type widened from {was} to anything", CONSUMERS)
        return
    word = "changed" if removed and added else "narrowed" if removed else "widened"
    yield Change("", f"type {word} from {was} to {now}", (*(CONSUMERS if added else ()), *(STORED if removed else ())))
    for kind in before.keys() & after.keys():
        yield from _same_kind(before[kind], after[kind])


def _same_kind(old: Schema, new: Schema) -> Iterator[Change]:
    yield from _values(old, new)
    yield from _bounds(old, new)
    yield from _fields(old, new)
    if "items" in old or "items" in new:
        yield from (_below("[]", change) for change in _compare(old.get("items", {}), new.get("items", {})))
    for key in sorted((old.keys() | new.keys()) - _HANDLED):
        if old.get(key) != new.get(key):
            yield _keyword(key, old, new)


def _values(old: Schema, new: Schema) -> Iterator[Change]:
    before, after = _allowed(old), _allowed(new)
    if before == after:
        return
    if before is None:
        yield Change("", f"only {_list(after or [])} allowed from now on", STORED)
    elif after is None:
        yield Change("", f"more than {_list(before)} allowed from now on", CONSUMERS)
    else:
        for value in [value for value in before if value not in after]:
            yield Change("", f"value {value} removed", STORED)
        for value in [value for value in after if value not in before]:
            yield Change("", f"value {value} added", CONSUMERS)


def _allowed(schema: Schema) -> list[str] | None:
    """Return the allowed values as JSON; None if every value is allowed."""
    if "const" in schema:
        return [json.dumps(schema["const"])]
    return [json.dumps(value) for value in schema["enum"]] if "enum" in schema else None


def _list(values: list[str]) -> str:
    return ", ".join(values)


def _bounds(old: Schema, new: Schema) -> Iterator[Change]:
    for key in (*_LOWER, *_UPPER):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if before is None:
            yield Change("", f"{key} {after} added", STORED)
        elif after is None:
            yield Change("", f"{key} {before} removed", CONSUMERS)
        else:
            narrower = (after > before) is (key in _LOWER)
            word = "raised" if after > before else "lowered"
            yield Change("", f"{key} {word} from {before} to {after}", STORED if narrower else CONSUMERS)


def _keyword(key: str, old: Schema, new: Schema) -> Change:
    if key not in old:
        return Change("", f"{key} {json.dumps(new[key])} added", STORED)
    if key not in new:
        return Change("", f"{key} {json.dumps(old[key])} removed", CONSUMERS)
    return Change("", f"{key} changed from {json.dumps(old[key])} to {json.dumps(new[key])}", BOTH)


def _default(old: Schema, new: Schema) -> Iterator[Change]:
    if "default" in old and old["default"] != new.get("default", ...):
        after = json.dumps(new["default"]) if "default" in new else "nothing"
        yield Change("", f"default changed from {json.dumps(old['default'])} to {after}", BOTH)


def _fields(old: Schema, new: Schema) -> Iterator[Change]:
    before, after = old.get("properties", {}), new.get("properties", {})
    had, has = set(old.get("required", ())), set(new.get("required", ()))
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in after:
            closed = new.get("additionalProperties", True) is not True
            yield Change(name, "required field removed" if name in had else "optional field removed", BOTH if closed else CONSUMERS)
        elif name not in before:
            yield _added(name, old, required=name in has)
        else:
            if (name in had) != (name in has):
                yield Change(name, *(("now required", STORED) if name in has else ("no longer required", CONSUMERS)))
            yield from (_below(name, change) for change in _compare(before[name], after[name]))
    yield from _others(old.get("additionalProperties", True), new.get("additionalProperties", True))


def _added(name: str, old: Schema, *, required: bool) -> Change:
    closed = CONSUMERS if old.get("additionalProperties", True) is not True else ()
    if required:
        return Change(name, "required field added", (*closed, *STORED))
    return Change(name, "optional field added", closed)


def _others(old: Any, new: Any) -> Iterator[Change]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        yield from (_below("*", change) for change in _compare(cast("Schema", old), cast("Schema", new)))
    elif new is False or old is True:
        yield Change("", "fields that are not named are refused or bound from now on", STORED)
    else:
        yield Change("", "fields that are not named are allowed from now on", CONSUMERS)


def _below(name: str, change: Change) -> Change:
    rest = change.place
    joined = name + rest if rest.startswith("[]") else f"{name}.{rest}" if rest else name
    return replace(change, place=joined)
