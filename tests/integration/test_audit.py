"""The archive: an order's events get there, can be asked in SQL, and are proven to be those of the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from devtools import ui
from devtools.ops import audit, audit_proof
from devtools.ops.audit_archive import Archive, rows
from orderflow.domain import events
from tests.integration.world import World, eventually

pytestmark = pytest.mark.needs("archive")


def _archived(world: World, order_id: str) -> list[str]:
    """The documents of an order's events that are in the archive, oldest first; one that was delivered again is there again."""
    with TemporaryDirectory() as folder:
        archive = Archive(world.target, Path(folder))
        archive.read(ui.Stage("archive"))
        _, found = rows(archive.database, "SELECT record FROM records WHERE order_id = ? ORDER BY order_version", [order_id])
        archive.database.close()
    return [record for (record,) in found]


@pytest.fixture
def confirmed(world: World) -> str:
    """A confirmed order, all of whose events by now are in the archive."""
    customer = world.customer()
    order_id = world.buy(customer, world.product())
    assert world.outcome(customer, order_id) == "confirmed"
    eventually(
        lambda: {events.decode(record).event_id for record in _archived(world, order_id)},
        lambda found: found == {event.event_id for event in world.log(order_id)},
        within=world.patience,
        what=f"the events of {order_id} in the archive",
    )
    return order_id


@pytest.fixture
def strange(world: World, confirmed: str) -> Iterator[str]:
    """The id of an event that is in the archive, and that nobody logged."""
    event = json.loads(events.encode(world.log(confirmed)[0])) | {"event_id": f"ord_{uuid4().hex[:26]}:1"}
    key = f"events/date={event['occurred_at'][:10]}/type={event['type']}/strange-{uuid4()}"
    s3, bucket = world.target.client("s3"), world.target.resources["AuditArchive"]
    version = s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(event).encode())["VersionId"]
    yield event["event_id"]
    s3.delete_object(Bucket=bucket, Key=key, VersionId=version, BypassGovernanceRetention=True)


def test_an_orders_events_are_archived_as_they_are_in_the_log(world: World, confirmed: str):
    assert list(dict.fromkeys(_archived(world, confirmed))) == [events.encode(event).decode() for event in world.log(confirmed)]


def test_the_archive_answers_questions(world: World, confirmed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QUERY", "timeline")
    monkeypatch.setenv("ORDER", confirmed)
    audit.main()
    shown = capsys.readouterr().out
    assert [event.type for event in world.log(confirmed) if event.type not in shown] == []


def test_the_archive_has_every_event_of_the_log_and_nothing_else(world: World, confirmed: str):
    proof = audit_proof.prove(world.target, world.patience)
    assert (proof.missing, proof.strange, proof.changed, proof.refused) == ([], [], [], 0)
    assert not [event_id for event_id in proof.under_way if event_id.startswith(confirmed)]
    assert proof.logged >= len(world.log(confirmed))


def test_an_event_that_nobody_logged_is_found(world: World, strange: str, capsys: pytest.CaptureFixture[str]):
    assert audit_proof.main() == 1
    assert strange in capsys.readouterr().out
