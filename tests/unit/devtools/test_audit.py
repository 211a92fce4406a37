"""The archive of events: read into tables, queried, and compared with the order log."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from devtools import ui
from devtools.cli import UserError
from devtools.ops import audit, audit_proof
from devtools.ops.audit_archive import Archive, rows
from devtools.target import ROOT, Target
from orderflow.domain.events import EVENT_TYPES

ALWAYS = ["2000-01-01", "2099-12-31"]
BUCKET, LOG, STREAM = "archive", "log", "audit"
BUFFER_SECONDS = 900
# One event of each type, all of one order.
EXAMPLES: list[dict[str, Any]] = [
    json.loads((ROOT / "schemas" / name / "1.example.json").read_text("utf-8")) | {"event_id": f"ord_1:{version}", "order_id": "ord_1"}
    for version, name in enumerate(EVENT_TYPES, 1)
]


def _key(event: dict[str, Any], name: str = "object") -> str:
    return f"events/date={event['occurred_at'][:10]}/type={event['type']}/2026/11/21/12/{name}"


class FakeAws:
    """A bucket, a delivery stream that buffers, and an order log."""

    def __init__(self, logged: list[dict[str, Any]], objects: dict[str, bytes]) -> None:
        """Start with these events and objects."""
        self.logged, self.objects = logged, objects
        # Objects delivered after the first reading.
        self.late: dict[str, bytes] = {}
        self.readings = 0

    def client(self, _service: str) -> Any:
        return self

    @property
    def resources(self) -> dict[str, str]:
        return {"AuditArchive": BUCKET, "AuditDelivery": STREAM, "OrderLog": LOG}

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=self._objects if operation == "list_objects_v2" else self._events)

    def _objects(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - botocore's names
        assert Bucket == BUCKET
        if Prefix == "events/":
            self.readings += 1
            self.objects |= self.late if self.readings > 1 else {}
        yield {}
        yield {"Contents": [{"Key": key} for key in list(self.objects) if key.startswith(Prefix)]}

    def _events(self, *, TableName: str, **_options: Any) -> Iterator[dict[str, Any]]:  # noqa: N803 - botocore's names
        assert TableName == LOG
        for event in self.logged:
            yield {"Items": [{"event": {"S": json.dumps(event)}}]}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - botocore's names
        assert Bucket == BUCKET
        return {"Body": io.BytesIO(self.objects[Key])}

    def describe_table(self, **_named: str) -> dict[str, Any]:
        return {"Table": {"ItemCount": 0}}

    def describe_delivery_stream(self, **_named: str) -> dict[str, Any]:
        destination = {"BufferingHints": {"IntervalInSeconds": str(BUFFER_SECONDS)}}
        return {"DeliveryStreamDescription": {"Destinations": [{"ExtendedS3DestinationDescription": destination}]}}


def _delivered(events: list[dict[str, Any]], name: str = "object") -> dict[str, bytes]:
    """Return objects by day and type, with a line per event, compressed as by the delivery stream."""
    objects: dict[str, bytes] = {}
    for event in events:
        key = _key(event, name)
        objects[key] = objects.get(key, b"") + json.dumps(event).encode() + b"\n"
    return {key: gzip.compress(content) for key, content in objects.items()}


@contextmanager
def _read(aws: FakeAws, folder: Path) -> Iterator[Archive]:
    archive = Archive(cast("Target", aws), folder)
    archive.read(ui.Stage("archive"))
    try:
        yield archive
    finally:
        archive.database.close()


def _verify(aws: FakeAws, wait: float = 0) -> audit_proof.Verification:
    return audit_proof.verify(cast("Target", aws), wait)


def _late(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event as recorded a second ago, for an order of its own."""
    young = _young(event)
    return event | {"recorded_at": young["occurred_at"], "event_id": young["event_id"]}


def _young(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event as of a second ago, for an order of its own."""
    moment = datetime.now(UTC) - timedelta(seconds=1)
    return event | {"occurred_at": f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}", "event_id": "ord_young:1"}


@pytest.fixture
def captured() -> dict[str, Any]:
    return next(event for event in EXAMPLES if event["type"] == "PaymentCaptured")


class TestArchive:
    def test_duplicate_delivery_is_one_event_and_two_records(self, tmp_path: Path) -> None:
        aws = FakeAws([], _delivered(EXAMPLES) | _delivered(EXAMPLES[:3], "again"))
        with _read(aws, tmp_path) as archive:
            counted = rows(archive.database, "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM archive)")[1]
        assert counted == [(len(EXAMPLES), len(EXAMPLES) + 3)]

    def test_uncompressed_object_without_newline_is_read(self, tmp_path: Path, captured: dict[str, Any]) -> None:
        objects = {_key(captured, name): json.dumps(captured | {"event_id": name}).encode() for name in ("a", "b")}
        with _read(FakeAws([], objects), tmp_path) as archive:
            assert rows(archive.database, "SELECT event_id FROM events ORDER BY 1")[1] == [("a",), ("b",)]

    def test_columns_equal_those_of_the_athena_table(self, tmp_path: Path) -> None:
        with _read(FakeAws([], {}), tmp_path) as archive:
            (columns, _), (again, _) = rows(archive.database, "SELECT * FROM archive"), rows(archive.database, "SELECT * FROM events")
        table = audit.template.source()["Resources"]["AuditTable"]["Properties"]["TableInput"]
        assert columns == again == [one["Name"] for one in (*table["StorageDescriptor"]["Columns"], *table["PartitionKeys"])]

    def test_object_without_day_and_type_is_rejected(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="without day and type in its key: events/stray"):
            Archive(cast("Target", FakeAws([], {"events/stray": b"{}"})), tmp_path).read(ui.Stage("archive"))

    def test_second_reading_reads_new_objects_only(self, tmp_path: Path, captured: dict[str, Any]) -> None:
        aws = FakeAws([], _delivered([captured]))
        aws.late = _delivered([captured | {"event_id": "late"}], "late")
        with _read(aws, tmp_path) as archive:
            assert archive.read(ui.Stage("archive")) == 1
            assert rows(archive.database, "SELECT count(*) FROM archive")[1] == [(2,)]


class TestQuestions:
    @pytest.mark.parametrize("name", audit.queries())
    def test_named_queries_of_athena_run_on_the_copy(self, name: str, tmp_path: Path) -> None:
        question = audit.queries()[name]
        with _read(FakeAws([], _delivered(EXAMPLES) | _delivered(EXAMPLES, "again")), tmp_path) as archive:
            audit.restrict(archive.database)
            columns, found = rows(archive.database, question, [*ALWAYS, EXAMPLES[0]["order_id"]][: question.count("?")])
        assert columns
        assert found

    @pytest.mark.parametrize("name", audit.queries())
    def test_named_queries_read_the_given_days_only(self, name: str, tmp_path: Path) -> None:
        question = audit.queries()[name]
        given = ["2000-01-01", "2000-01-31", EXAMPLES[0]["order_id"]][: question.count("?")]
        with _read(FakeAws([], _delivered(EXAMPLES) | _delivered(EXAMPLES, "again")), tmp_path) as archive:
            assert rows(archive.database, question, given)[1] == []

    @pytest.mark.parametrize(
        ("options", "days"),
        [
            ({}, ["2026-10-30", "2026-11-28"]),
            ({"FROM": "2026-11-01"}, ["2026-11-01", "2026-11-28"]),
            ({"TO": "2026-03-01"}, ["2026-01-31", "2026-03-01"]),
            ({"FROM": "2026-11-02", "TO": "2026-11-02"}, ["2026-11-02", "2026-11-02"]),
            ({"FROM": "0001-01-01", "TO": "0001-01-02"}, ["0001-01-01", "0001-01-02"]),
            ({"TO": "0001-01-02"}, ["0001-01-01", "0001-01-02"]),
        ],
    )
    def test_period_defaults_to_the_last_30_days(self, options: dict[str, str], days: list[str]) -> None:
        assert audit.days(date(2026, 11, 28), options.get("FROM", ""), options.get("TO", "")) == days

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"FROM": "2d"}, "FROM must be a day such as 2026-11-21, not '2d'"),
            ({"TO": "2026-02-30"}, "TO must be a day such as 2026-11-21, not '2026-02-30'"),
            ({"FROM": "2026-11-03", "TO": "2026-11-02"}, "FROM=2026-11-03 is after TO=2026-11-02"),
        ],
    )
    def test_malformed_days_are_rejected_by_name(self, options: dict[str, str], message: str) -> None:
        with pytest.raises(UserError, match=message):
            audit.days(date(2026, 11, 28), options.get("FROM", ""), options.get("TO", ""))

    def test_captured_amount_of_a_duplicate_event_counts_once(self, tmp_path: Path, captured: dict[str, Any]) -> None:
        aws = FakeAws([], _delivered([captured]) | _delivered([captured], "again"))
        with _read(aws, tmp_path) as archive:
            _, found = rows(archive.database, audit.queries()["captured-by-day"], ALWAYS)
        amount = captured["data"]["amount"]
        assert found == [(captured["occurred_at"][:10], amount["currency"], amount["amount"])]

    @pytest.mark.parametrize(
        ("question", "message"),
        [
            ("selec", "syntax error"),
            ("select nothing from events", "nothing"),
            ("select * from orders", "orders"),
            ("select * from read_text('/etc/hostname')", "file system operations are disabled"),
        ],
    )
    def test_invalid_query_is_rejected_in_one_line(self, question: str, message: str, tmp_path: Path) -> None:
        with _read(FakeAws([], {}), tmp_path) as archive:
            audit.restrict(archive.database)
            with pytest.raises(UserError, match=message) as rejection:
                rows(archive.database, question)
        assert "\n" not in str(rejection.value)

    def test_result_is_rendered_as_a_table(self) -> None:
        console = Console(width=100, color_system=None)
        with console.capture() as captured:
            console.print(audit.table(["type", "events"], [("OrderPlaced", 1234), ("[bold]", None)]))
        assert [line.split() for line in captured.get().splitlines()] == [["type", "events"], ["OrderPlaced", "1,234"], ["[bold]", "null"]]


class TestVerification:
    def test_verification_passes_with_duplicate_deliveries(self) -> None:
        found = _verify(FakeAws(EXAMPLES, _delivered(EXAMPLES) | _delivered(EXAMPLES[:2], "again")))
        assert found.passed
        assert (found.logged, found.archived, found.records) == (len(EXAMPLES), len(EXAMPLES), len(EXAMPLES) + 2)

    def test_undelivered_event_is_missing(self) -> None:
        found = _verify(FakeAws(EXAMPLES, _delivered(EXAMPLES[1:])))
        assert not found.passed
        assert found.missing == [EXAMPLES[0]["event_id"]]
        assert any(EXAMPLES[0]["event_id"] in line.plain for line in audit_proof.report(found))

    def test_event_without_log_entry_is_reported(self) -> None:
        found = _verify(FakeAws(EXAMPLES[1:], _delivered(EXAMPLES)))
        assert not found.passed
        assert found.unlogged == [EXAMPLES[0]["event_id"]]

    def test_changed_event_is_reported_beside_the_correct_one(self, captured: dict[str, Any]) -> None:
        other = captured | {"order_version": 99}
        found = _verify(FakeAws([captured], _delivered([captured]) | _delivered([other], "other")))
        assert not found.passed
        assert found.changed == [captured["event_id"]]

    def test_event_under_another_day_is_reported(self, captured: dict[str, Any]) -> None:
        objects = {f"events/date=2020-01-01/type={captured['type']}/object": json.dumps(captured).encode()}
        assert _verify(FakeAws([captured], objects)).changed == [captured["event_id"]]

    @pytest.mark.parametrize("young", [_young, _late])
    def test_buffered_event_is_pending_and_no_difference(self, captured: dict[str, Any], young: Callable[..., Any]) -> None:
        found = _verify(FakeAws([captured, young(captured)], _delivered([captured])))
        assert found.passed
        assert (found.missing, found.pending) == ([], ["ord_young:1"])

    def test_verification_waits_for_pending_events(self, monkeypatch: pytest.MonkeyPatch, captured: dict[str, Any]) -> None:
        monkeypatch.setattr(audit_proof, "PAUSE_SECONDS", 0)
        young, newer = _young(captured), _young(captured) | {"event_id": "ord_newer:1"}
        aws = FakeAws([young], {})
        # An event that was appended after the log was read is delivered as well.
        aws.late = _delivered([young, newer])
        found = _verify(aws, wait=60)
        assert found.passed
        assert (found.pending, found.archived) == ([], 2)

    def test_failed_deliveries_are_counted(self, captured: dict[str, Any]) -> None:
        objects = _delivered([captured]) | {"errors/processing-failed/date=2026-11-21/object": b"{}"}
        assert _verify(FakeAws([captured], objects)).failed == 1
