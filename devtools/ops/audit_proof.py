"""Verify that the archive, duplicates removed, has exactly the events of the order log.

Events that are not delivered within WAIT seconds are listed as pending; they are no difference.
"""

import time
from argparse import Namespace
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.text import Text

from devtools import target as targets
from devtools import ui
from devtools.ops.audit_archive import FAILED, Archive, rows
from devtools.target import Target
from orderflow.domain import remediation_events

PAUSE_SECONDS = 1.0
# From append to publication, and from the end of buffering to delivery.
MARGIN_SECONDS = 120
MAX_PRINTED = 20

_LOG = """
CREATE TABLE log AS SELECT json::VARCHAR AS record, json->>'$.event_id' AS event_id,
  coalesce(json->>'$.recorded_at', json->>'$.occurred_at') AS appended_at FROM """
_MISSING = "SELECT event_id FROM log ANTI JOIN records USING (event_id) WHERE appended_at {0} ? ORDER BY appended_at"
_OF_OPERATIONS = ", ".join(f"'{event.type}'" for event in remediation_events.EVENTS)
# Events of operations belong to no order. Later readings may have events that were appended after the log was read.
_UNLOGGED = "SELECT DISTINCT event_id FROM records ANTI JOIN log USING (event_id) WHERE reading = 1 AND type NOT IN ({0}) ORDER BY event_id"
_CHANGED = """
SELECT DISTINCT event_id FROM records JOIN log USING (event_id)
WHERE records.record <> log.record OR date <> left(records.occurred_at, 10) OR type <> records.record->>'$.type'
ORDER BY event_id
"""


@dataclass(frozen=True)
class Verification:
    """The comparison of log and archive: counts, and ids of events.

    `missing` are old enough to be in the archive, `pending` are not; `unlogged` are not in the log; `changed` have another content,
    day or type in the archive. `failed` counts objects with records that could not be delivered.
    """

    logged: int
    archived: int
    records: int
    missing: list[str]
    pending: list[str]
    unlogged: list[str]
    changed: list[str]
    failed: int

    @property
    def passed(self) -> bool:
        """Whether there is no difference; pending events are none."""
        return not (self.missing or self.unlogged or self.changed)


def verify(target: Target, wait: float) -> Verification:
    """Compare the log with the archive; wait up to `wait` seconds for pending events. Raises UserError as `Archive`."""
    buffering = timedelta(seconds=_buffering(target) + MARGIN_SECONDS)
    with TemporaryDirectory() as folder:
        archive = Archive(target, Path(folder))
        # The archive first: its events are in the log already.
        with ui.stage("archive") as step:
            archive.read(step)
        with ui.stage("order log") as step:
            _read_log(target, archive, Path(folder) / "log.ndjson", step)
        found = _compare(archive, datetime.now(UTC) - buffering)
        if found.pending and found.passed:
            with ui.stage("pending events") as step:
                found = _wait(archive, buffering, time.monotonic() + wait, found, step)
        archive.database.close()
    return found


def _wait(archive: Archive, buffering: timedelta, deadline: float, found: Verification, step: ui.Stage) -> Verification:
    unread = ui.Stage("")
    while found.pending and found.passed and time.monotonic() < deadline:
        step.detail = f"{len(found.pending):,} events"
        time.sleep(PAUSE_SECONDS)
        archive.read(unread)
        found = _compare(archive, datetime.now(UTC) - buffering)
    step.detail = f"{len(found.pending):,} events"
    return found


def _buffering(target: Target) -> int:
    """Return how many seconds the delivery stream buffers events."""
    name = target.resources["AuditDelivery"]
    (described,) = target.client("firehose").describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]["Destinations"]
    return int(described["ExtendedS3DestinationDescription"]["BufferingHints"]["IntervalInSeconds"])


def _read_log(target: Target, archive: Archive, path: Path, step: ui.Stage) -> None:
    client, name = target.client("dynamodb"), target.resources["OrderLog"]
    # DynamoDB updates the item count every six hours, so it is an estimate.
    expected = client.describe_table(TableName=name)["Table"]["ItemCount"]
    pages: Any = client.get_paginator("scan").paginate(
        TableName=name, ConsistentRead=True, ProjectionExpression="#event", ExpressionAttributeNames={"#event": "event"}
    )
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for page in pages:
            for item in page["Items"]:
                file.write(item["event"]["S"] + "\n")
            count += len(page["Items"])
            step.share, step.detail = min(1.0, count / max(expected, 1)), f"{count:,} of about {max(expected, count):,} events"
    step.share, step.detail = None, f"{count:,} events"
    archive.database.execute(f"{_LOG} read_json_objects(?, format = 'newline_delimited')", [str(path)])


def _compare(archive: Archive, since: datetime) -> Verification:
    young = f"{since:%Y-%m-%dT%H:%M:%S}"

    def ids(question: str, *given: str) -> list[str]:
        return [row[0] for row in rows(archive.database, question, given)[1]]

    ((logged, archived, records),) = rows(
        archive.database,
        "SELECT (SELECT count(*) FROM log), (SELECT count(DISTINCT event_id) FROM records), (SELECT count(*) FROM records)",
    )[1]
    return Verification(
        logged,
        archived,
        records,
        missing=ids(_MISSING.format("<"), young),
        pending=ids(_MISSING.format(">="), young),
        unlogged=ids(_UNLOGGED.format(_OF_OPERATIONS)),
        changed=ids(_CHANGED),
        failed=sum(1 for _ in archive.keys(FAILED)),
    )


def report(found: Verification) -> list[Text]:
    """Return the comparison as lines for people."""
    again = found.records - found.archived
    counts = f"{found.logged:,} events in the log, {found.archived:,} in the archive, {again:,} duplicate records"
    lines = [Text(f"  {counts}", "green" if found.passed else "red")]
    for what, ids in (
        ("missing in the archive", found.missing),
        ("in the archive but not in the log", found.unlogged),
        ("different in archive and log", found.changed),
    ):
        if ids:
            lines.append(Text(f"  ✗ {len(ids):,} {what}", "red"))
            lines += [Text(f"      {event_id}") for event_id in ids[:MAX_PRINTED]]
            lines += [Text(f"      and {len(ids) - MAX_PRINTED:,} more", "dim")] if len(ids) > MAX_PRINTED else []
    if found.pending:
        lines.append(Text(f"  {len(found.pending):,} events are pending and not verified yet", "yellow"))
    if found.failed:
        lines.append(Text(f"  {found.failed:,} objects of failed deliveries below {FAILED}", "yellow"))
    return lines


def main(arguments: Namespace) -> int:
    """Print the comparison; 1 where log and archive differ."""
    found = verify(targets.chosen(arguments.stack), arguments.wait)
    for line in report(found):
        ui.console.print(line)
    return 0 if found.passed else 1
