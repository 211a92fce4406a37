"""Contract changes since a release, by event, and the changes that need a new version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devtools.checks.contracts import releases
from devtools.checks.contracts.releases import Catalogue, Published, Release, differences, published

ORDERED: dict[str, Any] = {
    "title": "Ordered",
    "type": "object",
    "properties": {"sku": {"$ref": "#/$defs/Sku"}, "quantity": {"type": "integer", "maximum": 999}, "reason": {"enum": ["new", "again"]}},
    "required": ["sku", "quantity"],
    "$defs": {"Sku": {"type": "string", "maxLength": 64}},
}
EXAMPLE = {"sku": "MUG", "quantity": 1}


def with_field(name: str, **rules: Any) -> dict[str, Any]:
    return {**ORDERED, "properties": {**ORDERED["properties"], name: rules}}


def without(name: str) -> dict[str, Any]:
    return {**ORDERED, "properties": {key: rules for key, rules in ORDERED["properties"].items() if key != name}}


def catalogue(*versions: dict[str, Any], example: Any = EXAMPLE) -> Catalogue:
    return {"Ordered": {number: published(schema, example) for number, schema in enumerate(versions, 1)}}


BEFORE = catalogue(ORDERED)
BREAKING = {
    "a field removed": catalogue(without("reason")),
    "a field renamed": catalogue({**without("sku"), "required": ["quantity"]}),
    "a field narrowed": catalogue(with_field("quantity", type="integer", maximum=99)),
    "a field widened": catalogue(with_field("quantity", type="number", maximum=999)),
    "a field of another type": catalogue(with_field("quantity", type="string")),
    "a shared part narrowed": catalogue({**ORDERED, "$defs": {"Sku": {"type": "string", "maxLength": 32}}}),
    "a value added": catalogue(with_field("reason", enum=["new", "again", "gift"])),
    "a value removed": catalogue(with_field("reason", enum=["new"])),
    "a required field added": catalogue({**with_field("colour", type="string"), "required": ["sku", "quantity", "colour"]}),
    "a field made required": catalogue({**ORDERED, "required": ["sku", "quantity", "reason"]}),
    "a field made optional": catalogue({**ORDERED, "required": ["sku"]}),
    "closed to new fields": catalogue({**ORDERED, "additionalProperties": False}),
    "the event removed": {},
    "another example": catalogue(ORDERED, example={"sku": "MUG", "quantity": 2}),
}


@pytest.mark.parametrize("kind", BREAKING)
def test_change_without_new_version_is_incompatible(kind: str) -> None:
    found = differences(BEFORE, BREAKING[kind], ())
    assert any(not finding.change.compatible for finding in found)


@pytest.mark.parametrize("kind", sorted(set(BREAKING) - {"the event removed", "another example"}))
def test_change_with_version_and_upcaster_is_compatible(kind: str) -> None:
    newer = {"Ordered": {**BEFORE["Ordered"], 2: BREAKING[kind]["Ordered"][1]}}
    assert [str(finding) for finding in differences(BEFORE, newer, {("Ordered", 1)})] == ["Ordered 2: version added - compatible"]


@pytest.mark.parametrize(
    ("now", "lines"),
    [
        (BEFORE, []),
        (catalogue({**ORDERED, "title": "An order", "description": "New text."}), []),
        (catalogue(with_field("gift", type="boolean")), ["Ordered 1 gift: optional field added - compatible"]),
        ({**BEFORE, "Packed": catalogue(ORDERED)["Ordered"]}, ["Packed: event added - compatible"]),
    ],
)
def test_compatible_changes(now: Catalogue, lines: list[str]) -> None:
    assert [str(finding) for finding in differences(BEFORE, now, ())] == lines


def test_new_version_without_upcaster_is_incompatible() -> None:
    found = differences(BEFORE, catalogue(ORDERED, without("reason")), ())
    assert [finding.change.what for finding in found if not finding.change.compatible] == ["no upcaster leads from version 1 to 2"]


def test_every_version_has_an_upcaster_to_the_next() -> None:
    three = catalogue(ORDERED, without("reason"), without("sku"))
    [finding] = [finding for finding in differences(three, three, {("Ordered", 1)}) if not finding.change.compatible]
    assert finding.change.what == "no upcaster leads from version 2 to 3"


def test_older_version_cannot_be_removed_or_skipped() -> None:
    removed = {"Ordered": {2: published(without("reason"), EXAMPLE)}}
    found = differences(catalogue(ORDERED, without("reason")), removed, {("Ordered", 1)})
    assert {finding.change.what for finding in found} == {"version removed", "version 1 has no schema"}


def test_older_version_cannot_change() -> None:
    before = catalogue(ORDERED, without("reason"))
    now = catalogue(with_field("quantity", type="string"), without("reason"))
    [finding] = differences(before, now, {("Ordered", 1)})
    assert str(finding).startswith("Ordered 1 quantity: type changed from integer to string - INCOMPATIBLE: consumers")


def test_release_round_trips(tmp_path: Path) -> None:
    path = tmp_path / "released.json"
    release = Release("1.2.3", {"Ordered": {1: Published({"type": "object"}, "digest")}, "Packed": {}})
    path.write_text(releases.written(release), "utf-8")
    assert releases.read(path) == release
    assert releases.read(tmp_path / "none.json") == Release("0.0.0", {})


def test_releases_are_ordered_by_number() -> None:
    assert releases.numbered("1.10.0") > releases.numbered("1.9.9")
    with pytest.raises(ValueError, match=r"1\.2\.3"):
        releases.numbered("v1")
