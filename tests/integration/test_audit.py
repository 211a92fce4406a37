"""The archive holds every event of the log, answers SQL queries, and is audited against the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from devtools import ui
from devtools.commands import parsed
from devtools.ops import audit, audit_proof
from devtools.ops.audit_archive import Archive, rows
from orderflow.domain import events
from tests.integration.deployed_stack import DeployedStack, eventually

pytestmark = pytest.mark.needs("archive")


def _archived(stack: DeployedStack, order_id: str) -> list[str]:
    """The archived documents of an order's events, oldest first; redelivered events appear repeatedly."""
    with TemporaryDirectory() as folder:
        archive = Archive(stack.target, Path(folder))
        archive.read(ui.Stage("archive"))
        _, found = rows(archive.database, "SELECT record FROM records WHERE order_id = ? ORDER BY order_version", [order_id])
        archive.database.close()
    return [record for (record,) in found]


@pytest.fixture
def confirmed(stack: DeployedStack) -> str:
    """A confirmed order whose events are all archived."""
    customer = stack.customer()
    order_id = stack.buy(customer, stack.product())
    assert stack.outcome(customer, order_id) == "confirmed"
    # Consumers append these after the confirmation.
    eventually(
        lambda: {event.type for event in stack.log(order_id)},
        {"ShipmentRequested", "InvoiceIssued"}.issubset,
        within=stack.patience,
        what=f"the shipment and the invoice of {order_id}",
    )
    eventually(
        lambda: {events.decode(record).event_id for record in _archived(stack, order_id)},
        lambda found: found == {event.event_id for event in stack.log(order_id)},
        within=stack.patience,
        what=f"the events of {order_id} in the archive",
    )
    return order_id


@pytest.fixture
def unlogged(stack: DeployedStack, confirmed: str) -> Iterator[str]:
    """The id of an archived event that is not in the log."""
    event = json.loads(events.encode(stack.log(confirmed)[0])) | {"event_id": f"ord_{uuid4().hex[:26]}:1"}
    key = f"events/date={event['occurred_at'][:10]}/type={event['type']}/unlogged-{uuid4()}"
    s3, bucket = stack.target.client("s3"), stack.target.resources["AuditArchive"]
    version = s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(event).encode())["VersionId"]
    yield event["event_id"]
    s3.delete_object(Bucket=bucket, Key=key, VersionId=version, BypassGovernanceRetention=True)


def test_archive_holds_the_events_of_the_log(stack: DeployedStack, confirmed: str):
    assert list(dict.fromkeys(_archived(stack, confirmed))) == [events.encode(event).decode() for event in stack.log(confirmed)]


def test_saved_query_reads_the_archive(stack: DeployedStack, confirmed: str, capsys: pytest.CaptureFixture[str]):
    audit.main(parsed("audit", "--query", "timeline", "--order", confirmed))
    printed = capsys.readouterr().out
    assert [event.type for event in stack.log(confirmed) if event.type not in printed] == []


def test_audit_finds_no_difference_between_log_and_archive(stack: DeployedStack, confirmed: str):
    proof = audit_proof.verify(stack.target, stack.patience)
    assert (proof.missing, proof.unlogged, proof.changed, proof.failed) == ([], [], [], 0)
    assert not [event_id for event_id in proof.pending if event_id.startswith(confirmed)]
    assert proof.logged >= len(stack.log(confirmed))


def test_audit_reports_an_archived_event_without_log_entry(stack: DeployedStack, unlogged: str, capsys: pytest.CaptureFixture[str]):
    assert audit_proof.main(parsed("audit-proof")) == 1
    assert unlogged in capsys.readouterr().out
