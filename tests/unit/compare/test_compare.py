"""`make compare`: the differences between two versions of a consumer."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from devtools.cli import UserError
from devtools.target import ROOT
from orderflow.domain import events
from tests.compare import comparison
from tests.support.orders import STATES, history

EVENTS: list[dict[str, Any]] = [json.loads(events.encode(event)) for event in history(*STATES["lost refunded"])]


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """Return a copy of the code that awards twice the points."""
    for folder in ("functions", "layers/powertools"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    rules = tmp_path / "functions" / "loyalty" / "domain" / "point_rules.py"
    text = rules.read_text("utf-8")
    assert "* points_per_unit" in text
    rules.write_text(text.replace("* points_per_unit", "* points_per_unit * 2"), "utf-8")
    return tmp_path


def test_changed_version_differs_and_the_same_version_does_not(changed: Path):
    module, types = comparison.consumers()["LoyaltyAward"]
    until_paid = [event for event in EVENTS if event["type"] != "PaymentRefunded"]

    before, after = (comparison.consumed(code, module, types, until_paid) for code in (ROOT, changed))

    known = comparison.common(before, before)
    assert set(before["answers"]) == {event["event_id"] for event in until_paid if event["type"] in types}
    assert list(comparison.differences(known, before, "")) == []
    [line] = comparison.differences(known, after, "")
    assert line.startswith(" LoyaltyPoints ")
    assert " points N: " in line


def test_compressed_rows_are_compared_by_content():
    module, types = comparison.consumers()["AnalyticsCount"]
    pages = comparison.consumed(ROOT, module, types, EVENTS)["AnalyticsSums"]
    texts = [packed for page in pages.values() for packed in page["packed"].values()]
    counted = {one["event_id"] for text in texts for one in json.loads(text)}
    assert counted == {event["event_id"] for event in EVENTS if event["type"] in types}


def test_values_that_vary_between_runs_are_no_difference():
    known = comparison.common({"at": "10:00", "body": '{"id": 1, "n": 5}'}, {"at": "10:01", "body": '{"id": 2, "n": 5}'})
    assert list(comparison.differences(known, {"at": "11:00", "body": '{"id": 3, "n": 5}'}, "row")) == []
    assert list(comparison.differences(known, {"at": "11:00", "body": '{"id": 3, "n": 6}'}, "row")) == ["row body n: 6, was 5"]


def test_deleted_and_added_rows_are_differences():
    found = list(comparison.differences({"a": 1}, {"b": 2}, "table"))
    assert found == ["table a: deleted, was 1", "table b: new, 2"]


def test_only_consumers_with_matching_events_are_compared():
    with pytest.raises(UserError, match=r"LedgerPost.*, not 'OrdersPlace'"):
        comparison.compare("OrdersPlace", "HEAD", EVENTS)
    with pytest.raises(UserError, match="none of the 0 events"):
        comparison.compare("LedgerPost", "HEAD", [])


def test_events_of_a_file_are_read_oldest_first(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(json.dumps(event) for event in reversed(EVENTS)), "utf-8")
    assert [event["event_id"] for event in comparison.read(path)] == [event["event_id"] for event in EVENTS]
    late = [EVENTS[0], EVENTS[2] | {"recorded_at": EVENTS[1]["occurred_at"]}, EVENTS[1] | {"recorded_at": EVENTS[2]["occurred_at"]}]
    path.write_text("\n".join(json.dumps(event) for event in reversed(late)), "utf-8")
    assert comparison.read(path) == late
    path.write_text("not an event", "utf-8")
    with pytest.raises(UserError, match="one event, a JSON object, on each line"):
        comparison.read(path)


def test_revision_is_never_read_as_an_option_of_git(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no revision"):
        comparison.checked_out(f"--output={tmp_path}/written", tmp_path)
    assert not (tmp_path / "written").exists()
