"""Compatibility of schema changes: a table of every kind of change, and random documents that confirm it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from devtools.checks.contracts.compatibility import BOTH, CONSUMERS, STORED, Change, Reader, compare

COMPATIBLE: tuple[Reader, ...] = ()

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
MAYBE = {"anyOf": [TEXT, {"type": "null"}]}


def record(*required: str, closed: bool = False, **fields: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": fields, "required": list(required)}
    return {**schema, "additionalProperties": False} if closed else schema


def one(**rules: Any) -> dict[str, Any]:
    """Return a schema of one field, `a`, with these rules."""
    return record("a", a=rules)


TABLE: dict[str, tuple[dict[str, Any], dict[str, Any], str, str, tuple[Reader, ...]]] = {
    "optional field": (record("a", a=TEXT), record("a", a=TEXT, b=TEXT), "b", "optional field added", COMPATIBLE),
    "required field": (record("a", a=TEXT), record("a", "b", a=TEXT, b=TEXT), "b", "required field added", STORED),
    "required field removed": (record("a", "b", a=TEXT, b=TEXT), record("a", a=TEXT), "b", "required field removed", CONSUMERS),
    "optional field removed": (record(b=TEXT), record(), "b", "optional field removed", CONSUMERS),
    "field made optional": (record("a", a=TEXT), record(a=TEXT), "a", "no longer required", CONSUMERS),
    "field made required": (record(a=TEXT), record("a", a=TEXT), "a", "now required", STORED),
    "optional field, closed": (record(closed=True), record(a=TEXT, closed=True), "a", "optional field added", CONSUMERS),
    "required field, closed": (record(closed=True), record("a", a=TEXT, closed=True), "a", "required field added", BOTH),
    "field removed, closed": (record(a=TEXT, closed=True), record(closed=True), "a", "optional field removed", BOTH),
    "closed": (record(), record(closed=True), "", "fields that are not named are refused or bound from now on", STORED),
    "opened": (record(closed=True), record(), "", "fields that are not named are allowed from now on", CONSUMERS),
    "other type": (one(**TEXT), one(**NUMBER), "a", "type changed from string to integer", BOTH),
    "null allowed": (one(**TEXT), one(**MAYBE), "a", "type widened from string to null or string", CONSUMERS),
    "null refused": (one(**MAYBE), one(**TEXT), "a", "type narrowed from null or string to string", STORED),
    "fractions allowed": (one(**NUMBER), one(type="number"), "a", "type widened from integer to number", CONSUMERS),
    "fractions refused": (one(type="number"), one(**NUMBER), "a", "type narrowed from number to integer", STORED),
    "anything allowed": (one(**TEXT), one(), "a", "type widened from string to anything", CONSUMERS),
    "no longer anything": (one(), one(**TEXT), "a", "type narrowed from anything to string", STORED),
    "value added": (one(enum=["x"]), one(enum=["x", "y"]), "a", 'value "y" added', CONSUMERS),
    "value removed": (one(enum=["x", "y"]), one(enum=["x"]), "a", 'value "y" removed', STORED),
    "other constant": (one(const=1), one(const=2), "a", "value 1 removed", STORED),
    "values listed": (one(**TEXT), one(type="string", enum=["x"]), "a", 'only "x" allowed from now on', STORED),
    "values free": (one(type="string", enum=["x"]), one(**TEXT), "a", 'more than "x" allowed from now on', CONSUMERS),
    "minimum raised": (one(**NUMBER, minimum=1), one(**NUMBER, minimum=2), "a", "minimum raised from 1 to 2", STORED),
    "minimum lowered": (one(**NUMBER, minimum=1), one(**NUMBER, minimum=0), "a", "minimum lowered from 1 to 0", CONSUMERS),
    "maximum lowered": (one(**NUMBER, maximum=9), one(**NUMBER, maximum=8), "a", "maximum lowered from 9 to 8", STORED),
    "maximum raised": (one(**NUMBER, maximum=9), one(**NUMBER, maximum=10), "a", "maximum raised from 9 to 10", CONSUMERS),
    "shorter": (one(**TEXT, maxLength=9), one(**TEXT, maxLength=8), "a", "maxLength lowered from 9 to 8", STORED),
    "length bound": (one(**TEXT), one(**TEXT, minLength=1), "a", "minLength 1 added", STORED),
    "length free": (one(**TEXT, minLength=1), one(**TEXT), "a", "minLength 1 removed", CONSUMERS),
    "pattern": (one(**TEXT), one(**TEXT, pattern="^x"), "a", 'pattern "^x" added', STORED),
    "no pattern": (one(**TEXT, pattern="^x"), one(**TEXT), "a", 'pattern "^x" removed', CONSUMERS),
    "other pattern": (one(**TEXT, pattern="^x"), one(**TEXT, pattern="^y"), "a", 'pattern changed from "^x" to "^y"', BOTH),
    "format": (one(**TEXT), one(**TEXT, format="date-time"), "a", 'format "date-time" added', STORED),
    "unknown keyword": (one(prefixItems=[TEXT]), one(prefixItems=[NUMBER]), "a", "prefixItems changed", BOTH),
    "items": (one(type="array", items=TEXT), one(type="array", items=NUMBER), "a[]", "type changed from string to integer", BOTH),
    "meaning of absence": (
        record(a={**NUMBER, "default": 1}),
        record(a={**NUMBER, "default": 2}),
        "a",
        "default changed from 1 to 2",
        BOTH,
    ),
}


@pytest.mark.parametrize("kind", TABLE)
def test_change_is_named_with_its_compatibility(kind: str) -> None:
    old, new, place, what, breaks = TABLE[kind]
    change = compare(old, new)[0]
    assert change.place == place
    assert change.what.startswith(what)
    assert change.breaks == breaks
    assert change.compatible is not bool(breaks)


@pytest.mark.parametrize("kind", TABLE)
def test_equal_schemas_have_no_change(kind: str) -> None:
    old, new, *_ = TABLE[kind]
    assert compare(old, copy.deepcopy(old)) == compare(new, copy.deepcopy(new)) == []


def test_changed_description_is_no_change() -> None:
    new = {**one(**TEXT, description="new", examples=["x"]), "title": "new", "$id": "urn:new"}
    assert compare(one(**TEXT, description="old"), new) == []


def test_field_can_have_the_name_of_a_keyword() -> None:
    assert compare(record("title", title=TEXT), record()) == [Change("title", "required field removed", CONSUMERS)]


def test_referenced_schemas_are_compared_at_each_use() -> None:
    def order(sku: dict[str, Any]) -> dict[str, Any]:
        lines = {"type": "array", "items": {"$ref": "#/$defs/Line"}}
        return {**record("lines", lines=lines), "$defs": {"Line": record("sku", sku={"$ref": "#/$defs/Sku"}), "Sku": sku}}

    [change] = compare(order({**TEXT, "maxLength": 64}), order({**TEXT, "maxLength": 32}))
    assert change == Change("lines[].sku", "maxLength lowered from 64 to 32", STORED)


def test_effect_names_the_broken_reader() -> None:
    assert Change("", "x").effect == "compatible"
    assert "consumers" in Change("", "x", CONSUMERS).effect
    assert "stored" in Change("", "x", STORED).effect


# Documents verify the rules: the other version's validator must accept every change that counts as compatible.

NAMES = ("a", "b", "c")


@st.composite
def leaves(draw: st.DrawFn) -> dict[str, Any]:
    match draw(st.sampled_from(["text", "bounded text", "values", "number", "bounded", "flag", "maybe"])):
        case "text":
            return dict(TEXT)
        case "bounded text":
            shortest = draw(st.integers(0, 2))
            return {**TEXT, "minLength": shortest, "maxLength": shortest + draw(st.integers(0, 2))}
        case "values":
            return {"enum": draw(st.lists(st.sampled_from(["x", "y", "z", 1, None]), min_size=1, unique=True))}
        case "number":
            return {"type": draw(st.sampled_from(["integer", "number"]))}
        case "bounded":
            least = draw(st.integers(0, 3))
            return {**NUMBER, "minimum": least, "maximum": least + draw(st.integers(0, 3))}
        case "flag":
            return {"type": "boolean"}
        case _:
            return copy.deepcopy(MAYBE)


def records(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def build(fields: dict[str, dict[str, Any]], required: set[str], closed: bool) -> dict[str, Any]:
        return record(*sorted(required & fields.keys()), closed=closed, **fields)

    return st.builds(build, st.dictionaries(st.sampled_from(NAMES), parts, max_size=3), st.sets(st.sampled_from(NAMES)), st.booleans())


def arrays(parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return parts.map(lambda items: {"type": "array", "items": items})


SCHEMAS = st.recursive(leaves(), lambda parts: records(parts) | arrays(parts), max_leaves=5)


@st.composite
def rebounded(draw: st.DrawFn, schema: dict[str, Any]) -> dict[str, Any]:
    """Draw a schema of the same kind with another bound, or with other values."""
    bounds = [key for key in schema if key.startswith(("min", "max"))]
    if bounds:
        key = draw(st.sampled_from(bounds))
        other = {**schema, key: max(0, schema[key] + draw(st.sampled_from([-1, 1])))}
        least, most = (other[bound] for bound in sorted(bounds, reverse=True))
        return other if least <= most else schema
    if "enum" in schema:
        return {"enum": sorted({*schema["enum"]} ^ {draw(st.sampled_from(["x", "y", "z"]))} or {"x"}, key=repr)}
    return schema


@st.composite
def edited(draw: st.DrawFn, schema: dict[str, Any]) -> dict[str, Any]:
    """Draw a schema that differs from this one in few places or none."""
    if draw(st.integers(0, 3)) == 0:
        return draw(leaves())
    if schema.get("type") == "array":
        return {**schema, "items": draw(edited(schema["items"]))}
    if schema.get("type") != "object":
        return draw(rebounded(schema)) if draw(st.booleans()) else schema
    fields = {name: draw(edited(field)) if draw(st.booleans()) else field for name, field in schema["properties"].items()}
    if fields and draw(st.integers(0, 3)) == 0:
        del fields[draw(st.sampled_from(sorted(fields)))]
    if draw(st.booleans()):
        fields[draw(st.sampled_from(NAMES))] = draw(leaves())
    required = set(schema["required"]) ^ draw(st.sets(st.sampled_from(NAMES), max_size=1))
    return record(*sorted(required & fields.keys()), closed="additionalProperties" in schema, **fields)


def documents(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy of documents that are valid under a schema."""
    if "anyOf" in schema:
        return st.one_of([documents(part) for part in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            fields = {name: documents(field) for name, field in schema["properties"].items()}
            more = {} if "additionalProperties" in schema else {"of a later version": st.just(1)}
            needed = {name: fields.pop(name) for name in schema["required"]}
            return st.fixed_dictionaries(needed, optional={**fields, **more})
        case "array":
            return st.lists(documents(schema["items"]), max_size=2)
        case "string":
            return st.text("xyz", min_size=schema.get("minLength", 0), max_size=schema.get("maxLength", 4))
        case "integer":
            return st.integers(schema.get("minimum", -2), schema.get("maximum", 8))
        case "number":
            return st.integers(-2, 8) | st.just(0.5)
        case "boolean":
            return st.booleans()
        case _:
            return st.none()


@settings(max_examples=500)
@given(st.data())
def test_compatible_change_is_readable_by_old_readers(data: st.DataObject) -> None:
    old = data.draw(SCHEMAS)
    new = data.draw(edited(old))
    broken = {reader for change in compare(old, new) for reader in change.breaks}
    if "consumers" not in broken:
        assert all(map(Draft202012Validator(old).is_valid, data.draw(st.lists(documents(new), min_size=4, max_size=4))))
    if "stored" not in broken:
        assert all(map(Draft202012Validator(new).is_valid, data.draw(st.lists(documents(old), min_size=4, max_size=4))))


@given(SCHEMAS)
def test_schema_is_compatible_with_itself(schema: dict[str, Any]) -> None:
    assert compare(schema, copy.deepcopy(schema)) == []


@given(st.data())
def test_only_new_optional_fields_are_compatible(data: st.DataObject) -> None:
    old = data.draw(SCHEMAS)
    changes = compare(old, data.draw(edited(old)))
    assert {change.what for change in changes if change.compatible} <= {"optional field added"}
