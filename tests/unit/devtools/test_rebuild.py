"""Restore and rebuild: every table is rebuilt from an order log with orders of every path, without a second side effect."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from devtools import target as targets
from devtools import template
from devtools.cli import UsageError, UserError
from devtools.commands import parsed
from devtools.ops import rebuild, restore
from devtools.ops.rebuild import _Pace
from devtools.ops.table_scan import TableScan, position_file
from devtools.target import ROOT
from orderflow.aws.order_log import OrderLog
from tests.fakes.aws.dynamodb import Crash, throttled
from tests.fakes.aws.environment import TABLES, Aws
from tests.restore import comparison
from tests.restore.original import ORIGINAL_PATHS, Original
from tests.restore.rebuilt import Rebuilt, audit
from tests.restore.stack import RESTORED, StackInMemory, empty_aws

MANY = 12 * len(ORIGINAL_PATHS)
FEW = len(ORIGINAL_PATHS)
ACTIVE = 4
pytestmark = pytest.mark.usefixtures("quiet")


def pipeline_after(orders: int) -> Aws:
    """Return the services of a pipeline that has processed this number of orders."""
    with pytest.MonkeyPatch.context() as patch:
        pipeline = Original(patch, empty_aws())
        pipeline.run(orders)
        pipeline.leave_active(ACTIVE)
        stack = StackInMemory(pipeline.aws)
        while stack.invoke("AnalyticsAggregate", {})["events"]:
            pass
        assert not pipeline.simulation.dead_letters
        return pipeline.aws


@pytest.fixture(scope="module")
def original() -> Aws:
    return pipeline_after(FEW)


@pytest.fixture
def rebuilt(original: Aws, tmp_path: Path, small_pages: None) -> Rebuilt:
    """An empty stack with the restored log."""
    return Rebuilt(original, tmp_path)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read and write small pages, so that each operation takes several."""
    monkeypatch.setattr("devtools.ops.table_scan.PAGE", 60)
    monkeypatch.setattr("devtools.ops.restore.AT_ONCE", 10)
    monkeypatch.setattr("orders.view_rebuild.BATCH", 60)
    monkeypatch.setattr("devtools.ops.rebuild.time.sleep", lambda _: None)


def differences(original: Aws, one: Rebuilt) -> dict[str, list[str]]:
    return comparison.differences(original, one.aws, (audit(StackInMemory(original)), audit(one.stack)))


def rows(aws: Aws) -> dict[str, list[Any]]:
    return {table.name: aws.dynamodb.items(table.name) for table in TABLES}


def test_rebuild_of_orders_on_every_path_equals_the_original(tmp_path: Path) -> None:
    original = pipeline_after(MANY)
    rebuilt = Rebuilt(original, tmp_path)
    rebuilt.restore().copy()
    result = rebuilt.rebuild()
    assert (result.orders, result.findings) == (MANY + 2 * ACTIVE, [])
    assert differences(original, rebuilt) == {}
    counts = comparison.row_counts(rebuilt.aws)
    assert all(counts.values()), counts
    assert len(rebuilt.aws.s3.objects) == counts["Invoices"]


def test_restore_and_rebuild_have_no_effect_outside_the_stack(rebuilt: Rebuilt) -> None:
    rebuilt.restore().copy()
    published = rebuilt.aws.dynamodb.changes["OrderLog"]
    assert rebuilt.stack.invoke("OrdersPublish", {"Records": published}) == {"published": 0}
    assert rebuilt.stack.invoke("OrdersProject", {"Records": published}) == {"batchItemFailures": []}
    assert rebuilt.aws.dynamodb.items("OrderView") == []
    rebuilt.rebuild()
    assert rebuilt.effects == []


def test_second_rebuild_changes_nothing(original: Aws, rebuilt: Rebuilt) -> None:
    rebuilt.restore().copy()
    rebuilt.rebuild()
    before = rows(rebuilt.aws)
    rebuilt.rebuild(segments=1)
    after = rows(rebuilt.aws)
    changed = {name for name in before if before[name] != after[name]}
    # The order view is deleted and rebuilt with the same rows; a counted event may also be stored in another batch.
    assert changed <= {"AnalyticsSums", "LedgerBalances"}
    assert differences(original, rebuilt) == {}


@pytest.mark.parametrize(
    ("function", "call"),
    [
        ("InventoryRebuild", 1),
        ("InventoryRebuild", 3),
        ("LedgerPost", 2),
        ("OrdersRebuild", 1),
        ("AnalyticsAggregate", 2),
        ("LedgerAudit", 1),
    ],
)
def test_interrupted_rebuild_continues(original: Aws, rebuilt: Rebuilt, function: str, call: int) -> None:
    rebuilt.restore().copy()
    seen = 0

    def fail(name: str) -> None:
        nonlocal seen
        seen += name == function
        if name == function and seen >= call:
            raise UserError("stopped")

    rebuilt.stack.before = fail
    with pytest.raises(UserError, match=f"{function} failed 5 times"):
        rebuilt.rebuild()
    rebuilt.stack.before = lambda _: None
    rebuilt.rebuild()
    assert differences(original, rebuilt) == {}


def test_failed_call_is_retried(original: Aws, rebuilt: Rebuilt) -> None:
    rebuilt.restore().copy()
    calls = 0

    def fail(name: str) -> None:
        nonlocal calls
        calls += 1
        if calls % 4 == 0:
            raise UserError("throttled")

    rebuilt.stack.before = fail
    rebuilt.rebuild()
    rebuilt.stack.before = lambda _: None
    assert differences(original, rebuilt) == {}


@pytest.mark.parametrize(
    "table", ["OrderView", "LedgerEntries", "LoyaltyPoints", "Reservations", "ReturnedStock", "Stock", "Invoices", "Fraud", "Allowances"]
)
def test_comparison_finds_a_lost_row(original: Aws, rebuilt: Rebuilt, table: str) -> None:
    rebuilt.restore().copy()
    rebuilt.rebuild()
    lost = rebuilt.aws.dynamodb.items(table)[-1]
    key = next(one.key for one in TABLES if one.name == table)
    rebuilt.aws.dynamodb.client.delete_item(TableName=table, Key={name: lost[name] for name in key})
    assert table in differences(original, rebuilt)
    if table == "Stock":
        return
    rebuilt.rebuild()
    assert differences(original, rebuilt) == {}


def test_products_without_restored_stock_are_reported(rebuilt: Rebuilt) -> None:
    for sku in ("MUG-BLUE", "FILTER-100"):
        rebuilt.aws.dynamodb.client.delete_item(TableName="Stock", Key={"sku": {"S": sku}})
    rebuilt.aws.dynamodb.seed("Stock", {"sku": {"S": "FILTER-100"}, "available": {"N": "1"}, "reserved": {"N": "0"}, "shipped": {"N": "0"}})
    rebuilt.restore().copy()
    assert rebuilt.rebuild().findings[:2] == [
        "FILTER-100: orders have more units than the stock ever received; correct its stock row",
        "MUG-BLUE: no stock row was restored; add its available units",
    ]
    [mugs] = [row for row in rebuilt.aws.dynamodb.items("Stock") if row["sku"]["S"] == "MUG-BLUE"]
    assert mugs["available"] == {"N": "0"}
    assert int(mugs["shipped"]["N"]) > 0


def test_interrupted_copy_continues(original: Aws, rebuilt: Rebuilt) -> None:
    calls = 0

    def fail(operation: str, _: Any) -> None:
        nonlocal calls
        calls += operation == "BatchWriteItem"
        if operation == "BatchWriteItem" and calls == 9:
            raise throttled("BatchWriteItem")

    rebuilt.aws.dynamodb.before = fail
    with pytest.raises(Exception, match="BatchWriteItem"):
        rebuilt.restore().copy()
    rebuilt.aws.dynamodb.before = None
    assert rebuilt.restore().copy() == len(original.dynamodb.items("OrderLog"))
    assert not comparison.differences(original, rebuilt.aws, (dict, dict)).get("OrderLog")


def test_unprocessed_writes_are_retried(original: Aws, rebuilt: Rebuilt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devtools.ops.restore.time.sleep", lambda _: setattr(rebuilt.aws.dynamodb, "unprocessed", 0))
    rebuilt.aws.dynamodb.unprocessed = 7
    rebuilt.restore().copy()
    assert len(rebuilt.aws.dynamodb.items("OrderLog")) == len(original.dynamodb.items("OrderLog"))


def test_copy_into_a_log_with_orders_is_rejected(rebuilt: Rebuilt) -> None:
    rebuilt.restore().copy()
    for overwrite in (False, True):
        with pytest.raises(UserError, match="OrderLog is not empty"):
            rebuilt.restore().copy(overwrite=overwrite)


def test_copied_orders_are_inactive_until_they_are_activated(original: Aws, rebuilt: Rebuilt) -> None:
    def active(aws: Aws) -> dict[str, str]:
        return {item["order_id"]["S"]: item["open_shard"]["S"] for item in aws.dynamodb.items("OrderLog") if "open_shard" in item}

    rebuilt.restore().copy()
    assert active(rebuilt.aws) == {}
    rebuilt.rebuild()
    expected = active(original)
    assert len(expected) >= 2 * ACTIVE
    assert rebuilt.restore("activate").activate() == len(expected)
    assert active(rebuilt.aws) == expected
    assert rebuilt.restore("activate").activate() == len(expected)
    updated = [change for change in rebuilt.aws.dynamodb.changes["OrderLog"] if change["eventName"] != "INSERT"]
    assert rebuilt.stack.invoke("OrdersPublish", {"Records": updated}) == {"published": 0}


def test_reviews_of_copied_held_orders_start_again(original: Aws, rebuilt: Rebuilt) -> None:
    rebuilt.restore().copy()
    for _ in range(2):
        rebuilt.restore("activate").activate()

    review = rebuilt.stack.resources["Review"]
    held = [
        item["order_id"]["S"] for item in original.dynamodb.items("OrderLog") if item.get("open_shard", {}).get("S", "").startswith("held")
    ]
    # A second start of the same review ends at once.
    assert [(review, started["order_id"]) for started in rebuilt.aws.stepfunctions.started] == [(review, order_id) for order_id in 2 * held]


def test_events_since_a_time_are_published_again(original: Aws, rebuilt: Rebuilt) -> None:
    log = OrderLog("OrderLog", original.dynamodb.client)
    times = sorted(
        event.appended_at
        for item in original.dynamodb.items("OrderLog")
        if item["version"]["N"] == "1"
        for event in log.history(item["order_id"]["S"])
    )
    since = times[-20]
    rebuilt.restore().copy(republish_from=since)
    inserted = rebuilt.aws.dynamodb.changes["OrderLog"]
    assert rebuilt.stack.invoke("OrdersPublish", {"Records": inserted}) == {"published": sum(time >= since for time in times)}


def test_position_of_another_table_is_rejected(rebuilt: Rebuilt, tmp_path: Path) -> None:
    TableScan(tmp_path / "scan.json", "first", 1).save()
    with pytest.raises(UserError, match="unfinished scan of first, not of second"):
        TableScan(tmp_path / "scan.json", "second", 1)


def test_position_belongs_to_one_table_of_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tables of every emulator have the same names: a rebuild of one must not continue that of another."""
    monkeypatch.setattr(targets, "LOCAL", tmp_path)

    def file(table_id: str) -> Path:
        client = SimpleNamespace(describe_table=lambda **_: {"Table": {"TableId": table_id}})
        target: Any = SimpleNamespace(stack="shop", client=lambda _: client)
        return position_file(target, "rebuild", "shop-order-log")

    assert file("91bcb246-09c6") == file("91bcb246-09c6") == tmp_path / "rebuild-shop-91bcb246.json"
    assert file("7a0c11de-09c6") != file("91bcb246-09c6")


def test_page_that_crashes_is_counted_once(rebuilt: Rebuilt, tmp_path: Path) -> None:
    pages = 0

    def page(items: list[Any]) -> dict[str, Any]:
        nonlocal pages
        pages += 1
        if pages == 3:
            raise Crash
        return {"items": len(items)}

    path = tmp_path / "scan.json"
    with pytest.raises(Crash):
        TableScan(path, RESTORED, 1).run(rebuilt.aws.dynamodb, page, lambda _: None)
    counts = TableScan(path, RESTORED, 1).run(rebuilt.aws.dynamodb, page, lambda _: None)
    assert counts == {"items": len(rebuilt.aws.dynamodb.items(RESTORED))}


def test_no_hour_gets_more_orders_than_the_ledger_audit_takes() -> None:
    now = datetime(2026, 11, 28, 10, 59, 30, tzinfo=UTC)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        waits.append(seconds)
        now += timedelta(seconds=seconds)

    pace = _Pace(250, lambda: now, sleep)
    for _ in range(5):
        pace.take(100)
    assert waits == [30.0, 3600.0]


def test_document_lists_every_store() -> None:
    kinds = {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::Events::Archive", "AWS::Kinesis::Stream", "AWS::Cognito::UserPool"}
    stores = {name for name, one in template.source()["Resources"].items() if one["Type"] in kinds}
    table = (ROOT / "docs" / "restore.md").read_text("utf-8").partition("## Stores")[2]
    first_cells = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| "))
    assert {store for store in stores if f"`{store}`" not in first_cells} == set()


def test_document_and_comparison_list_the_same_tables_as_not_rebuilt() -> None:
    table = (ROOT / "docs" / "restore.md").read_text("utf-8").partition("## Stores")[2]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")]
    tables = {table.name for table in TABLES}
    said = {name for row in rows if row[3].strip() == "no" for name in re.findall(r"`(\w+)`", row[1]) if name in tables}
    assert said == comparison.NOT_REBUILT - {"Reviews"}


def test_rebuild_of_single_stores_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="ALL=1 is missing"):
        rebuild.main(parsed("rebuild", "--from", "log"))


def test_republished_items_have_no_marker_of_the_backup() -> None:
    event = '{"occurred_at":"2026-11-28T10:00:00Z"}'
    item = {
        "event": {"S": event},
        "open_version": {"N": "3"},
        "published": {"BOOL": True},
        "open_shard": {"S": "1"},
        "open_since": {"S": "x"},
    }
    moment = datetime(2026, 11, 28, 10, tzinfo=UTC)
    assert restore.logged(item, moment) == {"event": {"S": event}}
    assert restore.logged(item, moment + timedelta(seconds=1)) == {
        "event": {"S": event},
        "open_version": {"N": "3"},
        "published": {"BOOL": True},
    }
