"""Many orders through the deployed publisher, stream, analytics and ledger on an emulator of their own.

Synthetic orders are written to the order log's table, which triggers the pipeline as usual. Consumers that would act on them
(saga, carrier, emails) are disabled. Some events are put on the stream once more, as
a publisher does that died half way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import batched
from typing import Any

from analytics.domain.counting_rules import ALL, without_units
from analytics.store import AnalyticsStore
from devtools.cli import UserError
from devtools.target import Target
from ledger.domain import posting_rules
from orderflow.domain import events
from orderflow.domain.events import Event
from tests.load import checks
from tests.load.synthetic import Orders, logged

FEEDS = ("OrdersPublish", "AnalyticsCount", "LedgerPost")
AT_ONCE = 50
ROWS = 25
TWICE = 25
PATIENCE = 480.0
PAUSE = 2.0
TRIES = 8

type Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Came:
    """What came of it: how many events there were, how many came twice, how long all took in seconds, and what is wrong."""

    events: int
    twice: int
    seconds: float
    differences: list[str]


def bring(target: Target, number: int, progress: Progress) -> Came:
    """Have so many orders live on a target, and wait until ledger and analytics have all of them.

    Raises:
        UserError: they do not have them in `PATIENCE` seconds.
    """
    _only_feed(target)
    fees = posting_rules.parse_fees(_setting(target, "LedgerPost", "PROVIDER_FEES"))
    orders, twice = Orders(1, fees.basis_points, fees.fixed), 0
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        for batch in batched(range(number), AT_ONCE, strict=False):
            happened = [event for _ in batch for event in orders.next()]
            rows = [{"PutRequest": {"Item": logged(event)}} for event in happened]
            list(pool.map(lambda some: _write(target, list(some)), batched(rows, ROWS, strict=False)))
            again = happened[::TWICE]
            _stream(target, again)
            twice += len(again)
            progress(f"{orders.made:,} of {number:,} orders written, {orders.truth.events:,} events", orders.made / number / 2)
    sums = AnalyticsStore(target.resources["AnalyticsSums"], target.client("dynamodb"))
    _wait(target, sums, orders, began, progress)
    differences = [*checks.analytics(sums, orders.truth), *checks.ledger(_entries(target), orders.truth), *_left(target)]
    return Came(orders.truth.events, twice, time.monotonic() - began, differences)


def _wait(target: Target, sums: AnalyticsStore, orders: Orders, began: float, progress: Progress) -> None:
    truth, recalculate = orders.truth, target.resources["AnalyticsAggregate"]
    while True:
        target.client("lambda").invoke(FunctionName=recalculate, Payload=b"{}")
        entries, counted = sum(1 for _ in _entries(target)), sums.total(ALL).counters
        progress(
            f"{entries:,} of {truth.entries:,} entries, {counted.get('orders', 0):,} orders counted", 0.5 + entries / truth.entries / 2
        )
        if entries >= truth.entries and all(counted.get(name, 0) >= value for name, value in without_units(truth.counters).items()):
            return
        if time.monotonic() - began > PATIENCE:
            raise UserError(
                f"{entries} of {truth.entries} entries and {counted.get('orders', 0)} of {orders.made} orders after {PATIENCE:.0f} s"
            )
        time.sleep(PAUSE)


def _only_feed(target: Target) -> None:
    """Disable the consumers with side effects."""
    client, bus = target.client("lambda"), target.client("events")
    kept = {target.resources[name] for name in FEEDS}
    for page in client.get_paginator("list_event_source_mappings").paginate():
        for mapping in page["EventSourceMappings"]:
            if mapping["FunctionArn"].rpartition(":")[2] not in kept:
                client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    name = target.resources["EventBus"]
    for rule in bus.list_rules(EventBusName=name)["Rules"]:
        bus.disable_rule(Name=rule["Name"], EventBusName=name)


def _setting(target: Target, function: str, name: str) -> str:
    known = target.client("lambda").get_function_configuration(FunctionName=target.resources[function])
    return known["Environment"]["Variables"][name]


def _write(target: Target, rows: list[Any]) -> None:
    left: Any = {target.resources["OrderLog"]: rows}
    for _ in range(TRIES):
        left = target.client("dynamodb").batch_write_item(RequestItems=left).get("UnprocessedItems")
        if not left:
            return
    raise UserError(f"{target.endpoint} does not take {len(left)} events")


def _stream(target: Target, again: list[Event]) -> None:
    records = [{"PartitionKey": event.order_id, "Data": events.encode(event)} for event in again]
    answer = target.client("kinesis").put_records(StreamName=target.resources["EventStream"], Records=records)
    if answer["FailedRecordCount"]:
        raise UserError(f"{target.endpoint} does not take {answer['FailedRecordCount']} events on its stream")


def _entries(target: Target) -> Iterator[Any]:
    pages = target.client("dynamodb").get_paginator("scan").paginate(TableName=target.resources["LedgerEntries"])
    return (item for page in pages for item in page["Items"])


def _left(target: Target) -> Iterator[str]:
    """Yield the queues of these functions on which something was left."""
    for name in ("AnalyticsCountQueue", "AnalyticsCountDeadLetters", "LedgerQueue", "LedgerDeadLetters", "PublishDeadLetters"):
        url = target.resources.get(name)
        answer = target.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]) if url else {}
        if count := int(answer.get("Attributes", {}).get("ApproximateNumberOfMessages", 0)):
            yield f"{count} messages on {name}"
