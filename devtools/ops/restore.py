"""Restore a table of a stack from a point in time: DynamoDB restores into a new table, whose items are copied into the stack's.

Items of the order log get the marker `published`, so that the publisher ignores them: nothing is published again (decision 52). Active
orders have no active-order marker until ACTIVATE=1, the last step, after `make rebuild`. docs/restore.md has the whole procedure.
"""

import json
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from devtools import target as targets
from devtools import ui
from devtools.cli import UsageError, UserError
from devtools.ops.replay import moment
from devtools.ops.table_scan import Counts, Item, TableScan, position_file
from devtools.target import Target
from orderflow.aws import dynamodb

LOG = "OrderLog"
# Attributes of the log's indexes: they belong to the time of the backup.
ACTIVE = ("open_shard", "open_since")
OUTBOX = ("outbox", "outbox_since")
UPDATED = ("open_version", "published")
# The shards of the active-order index with held orders.
HELD = "held-"
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
AT_ONCE = 25
SEGMENTS = 8
ATTEMPTS = 10
POLL_SECONDS = 20

type Change = Callable[[Item], Item]


def restored_table(target: Target, table: str, at: datetime | None) -> str:
    """Restore a table into a new one, as of `at` (UTC) or the latest possible time, wait for it, and return its name.

    The copy has no indexes and no stream: it is read once and deleted afterwards.
    """
    client, source = target.client("dynamodb"), target.resources[table]
    name = f"{target.stack}-{table}-restored-{at or datetime.now(UTC):%Y%m%dT%H%M%S}"
    when: Any = {"RestoreDateTime": at} if at else {"UseLatestRestorableTime": True}
    with ui.stage(f"restore {table}") as stage:
        if not _exists(client, name):
            client.restore_table_to_point_in_time(
                SourceTableName=source, TargetTableName=name, GlobalSecondaryIndexOverride=[], BillingModeOverride="PAY_PER_REQUEST", **when
            )
        while client.describe_table(TableName=name)["Table"]["TableStatus"] != "ACTIVE":
            time.sleep(POLL_SECONDS)
        stage.detail = name
    return name


def _exists(client: Any, table: str) -> bool:
    try:
        client.describe_table(TableName=table)
    except client.exceptions.ResourceNotFoundException:
        return False
    return True


class Restore:
    """Copies a restored table into the table of a stack."""

    def __init__(self, target: Target, table: str, source: str, path: Path, segments: int = SEGMENTS) -> None:
        """Copy the table `source` into `table`, given by its logical id; `path` is the file with the position."""
        self._target, self._client = target, target.client("dynamodb")
        self._table, self._into = table, target.resources[table]
        self._scan = TableScan(path, source, segments)

    def copy(self, *, republish_from: datetime | None = None, overwrite: bool = False) -> int:
        """Copy all items, from where the last run stopped, and return their number.

        Events appended from `republish_from` (UTC) on are published again. Raises UserError where the stack's table has items, unless
        `overwrite`; the order log is never overwritten.
        """
        if not self._scan.continued and (not overwrite or self._table == LOG) and self._has_items():
            raise UserError(f"{self._into} is not empty: restore into an empty stack" + ("" if self._table == LOG else ", or OVERWRITE=1"))
        change: Change = (lambda item: logged(item, republish_from)) if self._table == LOG else (lambda item: item)
        with ui.stage(f"copy {self._table}") as stage:
            counts = self._scan.run(
                self._client, lambda items: self._write([change(item) for item in items]), lambda found: _show(stage, found)
            )
        self._scan.forget()
        return counts.get("items", 0)

    def activate(self) -> int:
        """Give the orders that were active, or held, at the time of the backup their markers, and return their number.

        Each held order's review starts again, which notifies the reviewers: its execution was one of the lost stack. A second review of an
        order ends at once.
        """
        with ui.stage("active orders") as stage:
            counts = self._scan.run(
                self._client, self._mark, lambda found: _show(stage, found), FilterExpression="attribute_exists(open_shard)"
            )
        self._scan.forget()
        return counts.get("items", 0)

    def _has_items(self) -> bool:
        return bool(self._client.scan(TableName=self._into, Limit=1)["Items"])

    def _write(self, items: Sequence[Item]) -> Counts:
        for some in batched(items, AT_ONCE, strict=False):
            left: Any = {self._into: [{"PutRequest": {"Item": item}} for item in some]}
            for attempt in range(ATTEMPTS):
                if attempt:
                    time.sleep(min(5.0, 0.05 * 2**attempt))
                left = self._client.batch_write_item(RequestItems=left).get("UnprocessedItems")
                if not left:
                    break
            else:
                raise UserError(f"{self._into} refuses writes; run again to continue")
        return {"items": len(items)}

    def _mark(self, items: Sequence[Item]) -> Counts:
        for item in items:
            try:
                self._client.update_item(
                    TableName=self._into,
                    Key={name: item[name] for name in ("order_id", "version")},
                    UpdateExpression="SET open_shard = :shard, open_since = :since",
                    ConditionExpression="attribute_exists(order_id) AND attribute_not_exists(open_shard)",
                    ExpressionAttributeValues={":shard": item["open_shard"], ":since": item["open_since"]},
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "ConditionalCheckFailedException":
                    raise
            if item["open_shard"]["S"].startswith(HELD):
                self._target.client("stepfunctions").start_execution(stateMachineArn=self._target.resources["Review"], input=_ids(item))
        return {"items": len(items)}


def logged(item: Item, republish_from: datetime | None = None) -> Item:
    """Return an item of the log as it is inserted: without active-order marker, and marked as published unless it is to be republished."""
    dropped = {*ACTIVE, *OUTBOX, *UPDATED} if _is_from(item, republish_from) else {*ACTIVE, *OUTBOX}
    kept = {name: value for name, value in item.items() if name not in dropped}
    return kept if UPDATED[0] in dropped else kept | dynamodb.encode_item({"published": True})


def _ids(item: Item) -> str:
    """Return the input of a workflow."""
    event = json.loads(item["event"]["S"])
    return json.dumps({name: event[name] for name in ("order_id", "correlation_id", "event_id")})


def _is_from(item: Item, since: datetime | None) -> bool:
    if since is None:
        return False
    event = json.loads(item["event"]["S"])
    return datetime.fromisoformat(event.get("recorded_at") or event["occurred_at"]) >= since


def _show(stage: ui.Stage, counts: Counts) -> None:
    stage.detail = f"{counts.get('items', 0):,} items"


def main(arguments: Namespace) -> None:
    """Restore a table, or activate the orders of a restored log."""
    target, now = targets.chosen(arguments.stack), datetime.now(UTC)
    if arguments.table not in target.physical_ids("AWS::DynamoDB::Table"):
        raise UsageError(f"TABLE must be one of {', '.join(sorted(target.physical_ids('AWS::DynamoDB::Table')))}, not {arguments.table!r}")
    if arguments.source and arguments.at:
        raise UsageError("give either AT, a time to restore, or SOURCE, a table that is restored already")
    source = arguments.source or restored_table(target, arguments.table, moment("AT", arguments.at, now))
    path = position_file(target, f"{'activate' if arguments.activate else 'restore'}-{arguments.table}", source)
    restore = Restore(target, arguments.table, source, path, 1 if target.local else SEGMENTS)
    if arguments.activate:
        ui.done("activated", f"{restore.activate():,} orders")
        return
    republish = moment("REPUBLISH", arguments.republish, now)
    if republish and republish > now - timedelta(seconds=1):
        raise UsageError("REPUBLISH must be before now")
    copied = restore.copy(republish_from=republish, overwrite=arguments.overwrite)
    ui.done("copied", f"{copied:,} items of {source}, which you can delete after the restore")
