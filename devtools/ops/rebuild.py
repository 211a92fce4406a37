"""Rebuild the other tables from the order log: feed its events to the functions that write them.

Each event goes to the consumers that take replays, each order to the functions that rebuild rows of orders. Nothing is published, so no
email is sent, no payment taken and no shipment requested. Rows that exist stay, so a rebuild may be repeated. Data that the
log does not contain is restored before; docs/restore.md has the whole procedure.
"""

import json
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import batched
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from devtools import target as targets
from devtools import template, ui
from devtools.cli import UsageError, UserError
from devtools.ops import rebuild_view
from devtools.ops.table_scan import Counts, Item, TableScan, position_file
from devtools.target import Target

# Functions that get the ids of orders.
ORDER_FUNCTIONS: tuple[str, ...] = ("InventoryRebuild", "FraudRebuild", "InvoicesRebuild")
# Consumers that get every event of a rule as their queue delivers it, and consumers that get one event of each order.
EVENT_CONSUMERS: dict[str, str] = {"LedgerPost": "LedgerRule", "AnalyticsCount": "AnalyticsCountRule"}
ORDER_CONSUMERS: dict[str, str] = {"LoyaltyAward": "LoyaltyAwardRule"}
# The share of one invocation: it takes a second or two of the functions' 30 and more.
ORDERS_AT_ONCE = 100
EVENTS_AT_ONCE = {"LedgerPost": 100, "LoyaltyAward": 100, "AnalyticsCount": 500}
PRODUCTS_AT_ONCE = 200
SEGMENTS = 4
INVOKE_SECONDS = 70
AUDIT_SECONDS = 910
AGGREGATE_SECONDS = 200
ATTEMPTS = 5
# Rebuilt entries belong to the period shards of the hours of the rebuild. The audit compares about 100 orders a second with the log, and
# has ten minutes for each of an hour's eight shards.
ORDERS_AN_HOUR = 300_000


@dataclass
class Result:
    """The numbers of events and orders, and the findings for an operator."""

    events: int = 0
    orders: int = 0
    findings: list[str] = field(default_factory=list[str])


class Rebuild:
    """A rebuild of one stack."""

    def __init__(self, target: Target, path: Path, segments: int = SEGMENTS) -> None:
        """Work on `target`; `path` is the file with the position."""
        self._target = target
        self._scan = TableScan(path, target.resources["OrderLog"], segments)
        self._pace = _Pace(ORDERS_AN_HOUR)
        rules = template.source()["Resources"]
        consumers = EVENT_CONSUMERS | ORDER_CONSUMERS
        self._types = {name: frozenset(rules[rule]["Properties"]["EventPattern"]["detail-type"]) for name, rule in consumers.items()}

    def run(self) -> Result:
        """Rebuild all stores, from where the last run stopped."""
        with ThreadPoolExecutor(1) as pool:
            view = pool.submit(self._view)
            with ui.stage("events and orders") as stage:
                if self._scan.continued:
                    stage.detail = "continued"
                counts = self._scan.run(self._target.client("dynamodb"), self._page, lambda found: _show(stage, found))
            view.result()
        result = Result(counts.get("events", 0), counts.get("orders", 0))
        self._finish(counts, result)
        self._scan.forget()
        return result

    def _view(self) -> None:
        cursor: dict[str, Any] | None = self._scan.counts.get("view", {"next": {}})["next"]
        while cursor is not None:
            cursor = self._invoke("OrdersRebuild", cursor, rebuild_view.INVOKE_SECONDS).get("next")
            self._scan.save(view={"next": cursor})

    def _page(self, items: Sequence[Item]) -> Counts:
        """Feed a page of the log; an order is fed with its first event, wherever its other events are."""
        order_ids = [item["order_id"]["S"] for item in items if item["version"]["N"] == "1"]
        self._pace.take(len(order_ids))
        levels: dict[str, Counts] = {}
        for some in batched(order_ids, ORDERS_AT_ONCE, strict=False):
            for function in ORDER_FUNCTIONS:
                answer = self._invoke(function, {"orders": some})
                for sku, (reserved, shipped) in answer.get("levels", {}).items():
                    before = levels.get(sku, {"reserved": 0, "shipped": 0})
                    levels[sku] = {"reserved": before["reserved"] + reserved, "shipped": before["shipped"] + shipped}
        for name, messages in self._messages(items):
            for some in batched(messages, EVENTS_AT_ONCE[name], strict=False):
                self._invoke(name, {"Records": some})
        return {"events": len(items), "orders": len(order_ids), "levels": levels}

    def _messages(self, items: Sequence[Item]) -> Iterator[tuple[str, list[Item]]]:
        for name in EVENT_CONSUMERS:
            yield name, [_message(item, item["event"]["S"]) for item in items if item["type"]["S"] in self._types[name]]
        for name in ORDER_CONSUMERS:
            # Without a version the consumer reads all events of the order.
            orders = {item["order_id"]["S"]: item for item in items if item["type"]["S"] in self._types[name]}
            yield name, [_message(item, _ids(item)) for item in orders.values()]

    def _finish(self, counts: Counts, result: Result) -> None:
        with ui.stage("stock levels") as stage:
            short, unknown = self._correct_levels(counts.get("levels", {}))
            stage.detail = f"{len(counts.get('levels', {}))} products"
        result.findings += [f"{sku}: orders have more units than the stock ever received; correct its stock row" for sku in short]
        result.findings += [f"{sku}: no stock row was restored; add its available units" for sku in unknown]
        self._sum_up_analytics()
        with ui.stage("ledger audit") as stage:
            audit = self._invoke("LedgerAudit", {"open": True}, AUDIT_SECONDS)
            stage.detail = f"{audit['outcome']}, {len(audit['differences'])} differences"
        result.findings += [f"ledger: {difference}" for difference in audit["differences"]]
        with ui.stage("stock") as stage:
            reconciled = self._invoke("InventoryReconcile", {}, AUDIT_SECONDS)
            stage.detail = f"{reconciled['differences']} products differ from their reservations"
        if reconciled["differences"]:
            result.findings.append(f"stock: {reconciled['differences']} products differ from their reservations")

    def _sum_up_analytics(self) -> None:
        with ui.stage("analytics") as stage:
            events = 0
            while some := self._invoke("AnalyticsAggregate", {}, AGGREGATE_SECONDS)["events"]:
                events += some
                stage.detail = f"{events} events added to totals"

    def _correct_levels(self, levels: Mapping[str, Counts]) -> tuple[list[str], list[str]]:
        short, unknown = list[str](), list[str]()
        for some in batched(sorted(levels), PRODUCTS_AT_ONCE, strict=False):
            wanted = {sku: (levels[sku]["reserved"], levels[sku]["shipped"]) for sku in some}
            answer = self._invoke("InventoryRebuild", {"levels": wanted})
            short += answer["short"]
            unknown += answer["unknown"]
        return short, unknown

    def _invoke(self, function: str, event: object, seconds: float = INVOKE_SECONDS) -> dict[str, Any]:
        """Invoke an idempotent function until it succeeds.

        Raises UserError after several attempts.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return _succeeded(self._target.invoke(function, event, seconds=seconds))
            except (UserError, ClientError, BotoCoreError) as error:
                if attempt == ATTEMPTS:
                    raise UserError(
                        f"{function} failed {ATTEMPTS} times ({error}); see its log lines, then run again to continue"
                    ) from error
                time.sleep(2**attempt)
        raise AssertionError


def _succeeded(answer: dict[str, Any]) -> dict[str, Any]:
    if failed := answer.get("batchItemFailures"):
        raise UserError(f"{len(failed)} messages failed, first {failed[0]['itemIdentifier']}")
    return answer


class _Pace:
    """Lets so many orders through in a clock hour."""

    def __init__(
        self, most: int, now: Callable[[], datetime] = lambda: datetime.now(UTC), sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._most, self._now, self._sleep = most, now, sleep
        self._hour, self._taken = "", 0
        self._lock = threading.Lock()

    def take(self, orders: int) -> None:
        """Take orders, after the end of the hour where it has too many."""
        with self._lock:
            while self._hour == (hour := f"{self._now():%Y-%m-%dT%H}") and self._taken + orders > self._most:
                now = self._now()
                self._sleep(3600 - now.minute * 60 - now.second)
            self._taken = orders if self._hour != hour else self._taken + orders
            self._hour = hour


def _message(item: Item, detail: str) -> Item:
    """Return an event as the consumer's queue delivers it, marked as replayed."""
    return {
        "messageId": f"{item['order_id']['S']}:{item['version']['N']}",
        "eventSource": "aws:sqs",
        "body": f'{{"replay-name":"rebuild","detail":{detail}}}',
        "attributes": {"ApproximateReceiveCount": "1"},
    }


def _ids(item: Item) -> str:
    event = json.loads(item["event"]["S"])
    return json.dumps({name: event[name] for name in ("order_id", "correlation_id", "event_id")})


def _show(stage: ui.Stage, counts: Counts) -> None:
    speed = counts["orders"] / max(1e-9, time.monotonic() - stage.began)
    stage.detail = f"{counts['events']:,} events, {counts['orders']:,} orders, {speed:,.0f} a second"


def main(arguments: Namespace) -> int:
    """Rebuild all stores and print the findings for an operator; return 1 if there are any."""
    if not arguments.all:
        raise UsageError("ALL=1 is missing: make rebuild ALL=1 FROM=log rebuilds every store; make rebuild-view the order view alone")
    target = targets.chosen(arguments.stack)
    path = position_file(target, "rebuild", target.resources["OrderLog"])
    result = Rebuild(target, path, arguments.segments or (1 if target.local else SEGMENTS)).run()
    ui.done("rebuilt", f"{result.events:,} events of {result.orders:,} orders")
    for finding in result.findings:
        ui.console.print(f"  ✗ {finding}", style="red")
    return 1 if result.findings else 0
