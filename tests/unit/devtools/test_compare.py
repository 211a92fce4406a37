"""`make compare`: what a new version of a consumer does otherwise, and what is no difference."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from devtools.cli import UserError
from devtools.ops import compare
from devtools.target import ROOT
from orderflow.domain import events
from tests.support.orders import STATES, history

LIFE: list[dict[str, Any]] = [json.loads(events.encode(event)) for event in history(*STATES["lost refunded"])]


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A copy of the code in which an order earns twice the points."""
    for folder in ("functions", "layers/powertools"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    rules = tmp_path / "functions" / "loyalty" / "domain" / "point_rules.py"
    text = rules.read_text("utf-8")
    assert "* points_per_unit" in text
    rules.write_text(text.replace("* points_per_unit", "* points_per_unit * 2"), "utf-8")
    return tmp_path


def test_a_version_that_does_otherwise_is_told_apart_from_one_that_does_the_same(changed: Path):
    module, types = compare.consumers()["LoyaltyAward"]
    until_paid = [event for event in LIFE if event["type"] != "PaymentRefunded"]

    before, after = (compare.consumed(code, module, types, until_paid) for code in (ROOT, changed))

    known = compare.settled(before, before)
    assert set(before["answers"]) == {event["event_id"] for event in until_paid if event["type"] in types}
    assert list(compare.differences(known, before, "")) == []
    [line] = compare.differences(known, after, "")
    assert line.startswith(" LoyaltyPoints ")
    assert " points N: " in line


def test_what_is_packed_in_a_row_is_told_as_what_it_says():
    module, types = compare.consumers()["AnalyticsCount"]
    pages = compare.consumed(ROOT, module, types, LIFE)["AnalyticsSums"]
    texts = [packed for page in pages.values() for packed in page["packed"].values()]
    counted = {one["event_id"] for text in texts for one in json.loads(text)}
    assert counted == {event["event_id"] for event in LIFE if event["type"] in types}


def test_what_differs_between_two_runs_of_the_same_code_is_no_difference():
    known = compare.settled({"at": "10:00", "body": '{"id": 1, "n": 5}'}, {"at": "10:01", "body": '{"id": 2, "n": 5}'})
    assert list(compare.differences(known, {"at": "11:00", "body": '{"id": 3, "n": 5}'}, "row")) == []
    assert list(compare.differences(known, {"at": "11:00", "body": '{"id": 3, "n": 6}'}, "row")) == ["row body n: 6, was 5"]


def test_a_row_that_is_gone_and_one_that_is_new_are_told():
    found = list(compare.differences({"a": 1}, {"b": 2}, "table"))
    assert found == ["table a: gone, was 1", "table b: new, 2"]


def test_only_a_consumer_of_events_can_be_compared():
    with pytest.raises(UserError, match=r"LedgerPost.*, not 'OrdersPlace'"):
        compare.compare("OrdersPlace", "HEAD", LIFE)
    with pytest.raises(UserError, match="none of the 0 events"):
        compare.compare("LedgerPost", "HEAD", [])


def test_a_file_of_events_is_read_in_the_order_in_which_they_happened(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(json.dumps(event) for event in reversed(LIFE)), "utf-8")
    assert [event["event_id"] for event in compare.read(path)] == [event["event_id"] for event in LIFE]
    late = [LIFE[0], LIFE[2] | {"recorded_at": LIFE[1]["occurred_at"]}, LIFE[1] | {"recorded_at": LIFE[2]["occurred_at"]}]
    path.write_text("\n".join(json.dumps(event) for event in reversed(late)), "utf-8")
    assert compare.read(path) == late
    path.write_text("not an event", "utf-8")
    with pytest.raises(UserError, match="one event, a JSON object, on each line"):
        compare.read(path)


def test_a_revision_is_never_an_option_of_git(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no revision"):
        compare.checked_out(f"--output={tmp_path}/written", tmp_path)
    assert not (tmp_path / "written").exists()
