"""`make audit-found`: proves that the archive has every event of the order log, once after duplicates, and nothing else.

WAIT=seconds is how long to wait for events that are still on their way (60); what does not come by then is named, and is no
difference.
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

PAUSE_SECONDS = 1.0
# An event is published after it was written, and delivered after it was gathered.
MARGIN_SECONDS = 120
SHOWN = 20

_LOG = """
CREATE TABLE log AS SELECT json::VARCHAR AS record, json->>'$.event_id' AS event_id,
  coalesce(json->>'$.recorded_at', json->>'$.occurred_at') AS appended_at FROM """
_MISSING = "SELECT event_id FROM log ANTI JOIN records USING (event_id) WHERE appended_at {0} ? ORDER BY appended_at"
# What was archived after the log was read may not have been in it yet.
_UNLOGGED = "SELECT DISTINCT event_id FROM records ANTI JOIN log USING (event_id) WHERE reading = 1 ORDER BY event_id"
_CHANGED = """
SELECT DISTINCT event_id FROM records JOIN log USING (event_id)
WHERE records.record <> log.record OR date <> left(records.occurred_at, 10) OR type <> records.record->>'$.type'
ORDER BY event_id
"""


@dataclass(frozen=True)
class Verification:
    """How log and archive compare: counts, and ids of events.

    `missing` are old enough to be in the archive, `under_way` are not; `strange` are not in the log; `changed` say something
    else in the archive, or lie under another day or type. `refused` counts objects of what could not be delivered.
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
        """Whether nothing is wrong, as far as events are not under way."""
        return not (self.missing or self.unlogged or self.changed)


def verify(target: Target, wait: float) -> Verification:
    """Compare all of the log with all of the archive, waiting so many seconds for what is under way. Raises UserError."""
    gathering = timedelta(seconds=_buffering(target) + MARGIN_SECONDS)
    with TemporaryDirectory() as folder:
        archive = Archive(target, Path(folder))
        # The archive first: whatever it has by now was in the log before.
        with ui.stage("archive") as step:
            archive.read(step)
        with ui.stage("order log") as step:
            _read_log(target, archive, Path(folder) / "log.ndjson", step)
        found = _compare(archive, datetime.now(UTC) - gathering)
        if found.pending and found.passed:
            with ui.stage("under way") as step:
                found = _wait(archive, gathering, time.monotonic() + wait, found, step)
        archive.database.close()
    return found


def _wait(archive: Archive, gathering: timedelta, deadline: float, found: Verification, step: ui.Stage) -> Verification:
    unread = ui.Stage("")
    while found.pending and found.passed and time.monotonic() < deadline:
        step.detail = f"{len(found.pending):,} events"
        time.sleep(PAUSE_SECONDS)
        archive.read(unread)
        found = _compare(archive, datetime.now(UTC) - gathering)
    step.detail = f"{len(found.pending):,} events"
    return found


def _buffering(target: Target) -> int:
    """How many seconds the delivery stream gathers events."""
    name = target.resources["AuditDelivery"]
    (described,) = target.client("firehose").describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]["Destinations"]
    return int(described["ExtendedS3DestinationDescription"]["BufferingHints"]["IntervalInSeconds"])


def _read_log(target: Target, archive: Archive, path: Path, step: ui.Stage) -> None:
    client, name = target.client("dynamodb"), target.resources["OrderLog"]
    # A table counts its items every few hours only.
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
        unlogged=ids(_UNLOGGED),
        changed=ids(_CHANGED),
        failed=sum(1 for _ in archive.keys(FAILED)),
    )


def report(found: Verification) -> list[Text]:
    """The found as lines for people."""
    again = found.records - found.archived
    counts = f"{found.logged:,} events in the log, {found.archived:,} in the archive, {again:,} records of them delivered again"
    lines = [Text(f"  {counts}", "green" if found.passed else "red")]
    for what, ids in (
        ("missing in the archive", found.missing),
        ("in the archive and not in the log", found.unlogged),
        ("not in the archive as they are in the log", found.changed),
    ):
        if ids:
            lines.append(Text(f"  ✗ {len(ids):,} {what}", "red"))
            lines += [Text(f"      {event_id}") for event_id in ids[:SHOWN]]
            lines += [Text(f"      and {len(ids) - SHOWN:,} more", "dim")] if len(ids) > SHOWN else []
    if found.pending:
        lines.append(Text(f"  {len(found.pending):,} events are under way; nothing is proven of them yet", "yellow"))
    if found.failed:
        lines.append(Text(f"  {found.failed:,} objects of what could not be delivered, below {FAILED}", "yellow"))
    return lines


def main(arguments: Namespace) -> int:
    """Prove it, and print what there is; 1 where log and archive differ."""
    found = verify(targets.chosen(arguments.stack), arguments.wait)
    for line in report(found):
        ui.console.print(line)
    return 0 if found.passed else 1
