"""Many orders through the deployed publisher, stream, analytics and ledger on a separate emulator.

Synthetic orders are written to the order log's table, which triggers the pipeline. Consumers with side effects (saga, carrier,
emails) are disabled. Some events are put on the stream twice, as after a publisher that failed in the middle of a batch.
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

MEASURED_FUNCTIONS = ("OrdersPublish", "AnalyticsCount", "LedgerPost")
ORDERS_PER_BATCH = 50
ROWS_PER_REQUEST = 25
DUPLICATE_EVERY = 25
TIMEOUT_SECONDS = 480.0
POLL_SECONDS = 2.0
MAX_ATTEMPTS = 8

type Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Measured:
    """The numbers of events and of duplicates, the duration in seconds, and the differences between results and orders."""

    events: int
    duplicates: int
    seconds: float
    differences: list[str]


def run(target: Target, number: int, progress: Progress) -> Measured:
    """Write this number of orders to the log of a target, and wait until ledger and analytics have processed all of them.

    Raises:
        UserError: they did not within `TIMEOUT_SECONDS`.
    """
    _disable_side_effects(target)
    fees = posting_rules.parse_fees(_setting(target, "LedgerPost", "PROVIDER_FEES"))
    orders, duplicates = Orders(1, fees.basis_points, fees.fixed), 0
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        for batch in batched(range(number), ORDERS_PER_BATCH, strict=False):
            events_of_batch = [event for _ in batch for event in orders.next()]
            rows = [{"PutRequest": {"Item": logged(event)}} for event in events_of_batch]
            list(pool.map(lambda some: _write(target, list(some)), batched(rows, ROWS_PER_REQUEST, strict=False)))
            repeated = events_of_batch[::DUPLICATE_EVERY]
            _stream(target, repeated)
            duplicates += len(repeated)
            progress(f"{orders.made:,} of {number:,} orders written, {orders.totals.events:,} events", orders.made / number / 2)
    sums = AnalyticsStore(target.resources["AnalyticsSums"], target.client("dynamodb"))
    _wait(target, sums, orders, began, progress)
    differences = [*checks.analytics(sums, orders.totals), *checks.ledger(_entries(target), orders.totals), *_unprocessed(target)]
    return Measured(orders.totals.events, duplicates, time.monotonic() - began, differences)


def _wait(target: Target, sums: AnalyticsStore, orders: Orders, began: float, progress: Progress) -> None:
    totals, aggregate = orders.totals, target.resources["AnalyticsAggregate"]
    while True:
        target.client("lambda").invoke(FunctionName=aggregate, Payload=b"{}")
        entries, counted = sum(1 for _ in _entries(target)), sums.total(ALL).counters
        progress(
            f"{entries:,} of {totals.entries:,} entries, {counted.get('orders', 0):,} orders counted", 0.5 + entries / totals.entries / 2
        )
        if entries >= totals.entries and all(counted.get(name, 0) >= value for name, value in without_units(totals.counters).items()):
            return
        if time.monotonic() - began > TIMEOUT_SECONDS:
            raise UserError(
                f"after {TIMEOUT_SECONDS:.0f} s the ledger has {entries} of {totals.entries} entries "
                f"and analytics {counted.get('orders', 0)} of {orders.made} orders"
            )
        time.sleep(POLL_SECONDS)


def _disable_side_effects(target: Target) -> None:
    """Disable all triggers but those of publisher, analytics and ledger."""
    client, bus = target.client("lambda"), target.client("events")
    measured = {target.resources[name] for name in MEASURED_FUNCTIONS}
    for page in client.get_paginator("list_event_source_mappings").paginate():
        for mapping in page["EventSourceMappings"]:
            if mapping["FunctionArn"].rpartition(":")[2] not in measured:
                client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    name = target.resources["EventBus"]
    for rule in bus.list_rules(EventBusName=name)["Rules"]:
        bus.disable_rule(Name=rule["Name"], EventBusName=name)


def _setting(target: Target, function: str, name: str) -> str:
    configuration = target.client("lambda").get_function_configuration(FunctionName=target.resources[function])
    return configuration["Environment"]["Variables"][name]


def _write(target: Target, rows: list[Any]) -> None:
    unprocessed: Any = {target.resources["OrderLog"]: rows}
    for _ in range(MAX_ATTEMPTS):
        unprocessed = target.client("dynamodb").batch_write_item(RequestItems=unprocessed).get("UnprocessedItems")
        if not unprocessed:
            return
    raise UserError(f"{target.endpoint} did not write all events in {MAX_ATTEMPTS} attempts")


def _stream(target: Target, some: list[Event]) -> None:
    records = [{"PartitionKey": event.order_id, "Data": events.encode(event)} for event in some]
    answer = target.client("kinesis").put_records(StreamName=target.resources["EventStream"], Records=records)
    if answer["FailedRecordCount"]:
        raise UserError(f"{target.endpoint} rejected {answer['FailedRecordCount']} events for its stream")


def _entries(target: Target) -> Iterator[Any]:
    pages = target.client("dynamodb").get_paginator("scan").paginate(TableName=target.resources["LedgerEntries"])
    return (item for page in pages for item in page["Items"])


def _unprocessed(target: Target) -> Iterator[str]:
    """Yield the numbers of messages that are still in queues of the measured functions."""
    for name in ("AnalyticsCountQueue", "AnalyticsCountDeadLetters", "LedgerQueue", "LedgerDeadLetters", "PublishDeadLetters"):
        url = target.resources.get(name)
        answer = target.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]) if url else {}
        if count := int(answer.get("Attributes", {}).get("ApproximateNumberOfMessages", 0)):
            yield f"{count} messages in {name}"
