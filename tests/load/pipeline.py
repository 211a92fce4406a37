"""Many orders through the real publisher and two consumers of the event stream, analytics and ledger, in one process.

Publisher and consumers get batches of the template's size, filtered by the template's event types. Every `DUPLICATE_EVERY`th record
is delivered again in the next batch, every `LATE_EVERY`th minutes later from the consumer's queue, and every other batch is shuffled.
The meter of `make bench` counts the billed units of each call, but no CPU time and no log lines. The usage of scheduled functions
is counted separately.

Tables are on disk, so memory is that of the process without its data.
"""

from __future__ import annotations

import base64
import gc
import heapq
import json
import logging
import math
import random
import resource
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Self

from analytics.handlers import aggregate
from analytics.handlers import count_events as analytics_count
from analytics.store import AnalyticsStore
from devtools import template
from devtools.billing.bill import bill
from devtools.billing.calls import Call
from devtools.billing.units import Key, Meter
from devtools.billing.usage import EVENT_CHUNK, POLLS, RECORD_CHUNK, SENT
from ledger.handlers import post_entries
from orderflow.aws.observability import logger
from orderflow.domain import events
from orders.handlers import publish
from tests.compare import comparison
from tests.fakes.aws import clients
from tests.fakes.aws.dynamodb import FakeDynamoDB, clear_caches
from tests.fakes.aws.environment import TABLES, Aws
from tests.fakes.aws.metered import Metered, schema_of
from tests.load import checks
from tests.load.disk import OnDisk
from tests.load.synthetic import PER_MINUTE, PRODUCTS, START, Orders, logged
from tests.support import runtime

DUPLICATE_EVERY = 25
LATE_EVERY = 100
MAX_DELAY = timedelta(minutes=4)
KNOWN_ITEMS = 10_000
MINUTE = timedelta(minutes=1)
CONTEXT = runtime.context()
HANDLERS = {"AnalyticsCount": analytics_count.handler, "LedgerPost": post_entries.handler}


class _RecentSizes(OrderedDict[Key, int]):
    """The sizes of the items written last; the pipeline does not update older ones."""

    def __setitem__(self, key: Key, value: int) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > KNOWN_ITEMS:
            self.popitem(last=False)


@dataclass
class Tally:
    """Usage: calls by service and operation, with invocations, and billed units."""

    calls: Counter[str] = field(default_factory=Counter[str])
    usage: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, unit: str, quantity: float) -> None:
        self.usage[unit] = self.usage.get(unit, 0.0) + quantity

    def since(self, before: Tally) -> Tally:
        """Return the usage since `before`."""
        usage = {unit: quantity - before.usage.get(unit, 0.0) for unit, quantity in self.usage.items()}
        return Tally(self.calls - before.calls, usage)

    def copy(self) -> Tally:
        return Tally(Counter(self.calls), dict(self.usage))

    def dollars(self, number: int) -> float:
        """Return the cost of a million orders or minutes, given that this usage is of `number`."""
        return sum(item.dollars for item in bill(self.usage, number))


@dataclass(frozen=True)
class Consumer:
    """A function triggered by the stream: its event types and batch size."""

    name: str
    handler: Any
    types: frozenset[str]
    batch_size: int


class Pipeline:
    """Publisher, stream and consumers on services in memory, their tables in files of a folder."""

    def __init__(self, folder: Path, seed: int = 1, products: int = PRODUCTS) -> None:
        """Start with empty tables, stored in files of `folder`. Enter the context before `run`."""
        self._folder = folder
        self._files: list[OnDisk] = []
        self._aws = Aws(FakeDynamoDB(*TABLES, storage=self._file, keeps_changes=False))
        self.orders = Orders(seed, post_entries.FEES.basis_points, post_entries.FEES.fixed, products)
        self.used, self.scheduled = Tally(), Tally()
        self.minutes = self.duplicates = self.late = self.sold = 0
        self._skus = set[str]()
        self._tally = self.used
        self._meter = Meter({table.name: schema_of(table) for table in TABLES}, _RecentSizes())
        self._consumers = [
            Consumer(name, handler, comparison.consumers()[name][1], _batch_size(name)) for name, handler in HANDLERS.items()
        ]
        self._publish_batch_size = _batch_size("OrdersPublish")
        self._batch: list[Any] = []
        self._pending: dict[str, list[bytes]] = {one.name: [] for one in self._consumers}
        self._due: list[tuple[datetime, int, Callable[[], None]]] = []
        self._numbers, self._records, self._deliveries, self._batches = count(), count(1), count(1), count(1)
        self._minute = START + MINUTE
        self._chance = random.Random(seed)
        self._level = logging.CRITICAL
        self._counting = threading.Lock()

    def __enter__(self) -> Self:
        """Give the functions the in-memory services, and silence their logger."""
        aws = self._aws
        services = {"dynamodb": aws.dynamodb, "events": aws.events, "kinesis": aws.kinesis, "sqs": aws.sqs}
        clients.lend(**{name: Metered(client, name, self._called) for name, client in services.items()})
        self._swap_level()
        return self

    def __exit__(self, *_: object) -> None:
        """Restore clients and logger, and close the files."""
        clients.lend()
        self._swap_level()
        for file in self._files:
            file.close()

    def _swap_level(self) -> None:
        functions = logging.getLogger(logger.name)
        level, self._level = self._level, functions.level
        functions.setLevel(level)

    def _file(self) -> OnDisk:
        self._files.append(OnDisk(self._folder / f"table-{len(self._files)}"))
        return self._files[-1]

    def run(self, orders: int, progress: Callable[[int], None] = lambda _: None) -> None:
        """Run this number of further orders until all consumers have processed them."""
        for number in range(orders):
            for event in self.orders.next():
                self._at(event.occurred_at, lambda event=event: self._append(event))
            self._advance(until=START + timedelta(minutes=self.orders.made / PER_MINUTE))
            progress(number + 1)
        while self._due or self._batch or any(self._pending.values()):
            self._advance()
            self._publish()
            for consumer in self._consumers:
                self._deliver_batch(consumer)
        self._aggregate()

    def differences(self) -> list[str]:
        """Return the differences between analytics, ledger and the orders; empty where there are none."""
        database, totals = self._aws.dynamodb, self.orders.totals
        found = [
            *checks.analytics(AnalyticsStore("AnalyticsSums", database.client), totals),
            *checks.ledger(database.each("LedgerEntries"), totals),
        ]
        if self._aws.sqs.sent:
            found.append(f"{sum(map(len, self._aws.sqs.sent.values()))} messages were dead-lettered")
        return found

    @property
    def products(self) -> int:
        """The number of different products that were sold."""
        return sum(name.startswith("units/") for name in self.orders.totals.counters)

    @property
    def largest_item(self) -> int:
        """Bytes of the largest analytics item, without its key."""
        return max(len(item["packed"]["B"]) for item in self._aws.dynamodb.each("AnalyticsSums") if "packed" in item)

    def _at(self, moment: datetime, work: Callable[[], None]) -> None:
        heapq.heappush(self._due, (moment, next(self._numbers), work))

    def _advance(self, until: datetime | None = None) -> None:
        """Let time pass until `until`, or until all work is done."""
        while self._due and (until is None or self._due[0][0] < until):
            moment, _, work = heapq.heappop(self._due)
            while moment >= self._minute:
                self._aggregate()
                self._minute += MINUTE
            work()

    def _append(self, event: events.Event) -> None:
        """Add an event to the publisher's next batch, and some events to a later one as well."""
        if isinstance(event.data, events.OrderConfirmed):
            self._skus |= {line.sku for line in event.data.lines}
        duplicated, record = next(self._records) % DUPLICATE_EVERY == 0, _record(event)
        self._add(record)
        if duplicated:
            self.duplicates += 1
            self._at(event.occurred_at + timedelta(seconds=2), lambda: self._add(record))

    def _add(self, record: Any) -> None:
        self._batch.append(record)
        if len(self._batch) >= self._publish_batch_size:
            self._publish()

    def _publish(self) -> None:
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        self._invoke("OrdersPublish", publish.handler, {"Records": batch})
        streamed, self._aws.kinesis.records = self._aws.kinesis.records, []
        # This test has no consumers of the bus.
        self._aws.events.entries.clear()
        for batches in (self._aws.kinesis.batches, self._aws.events.batches):
            batches.clear()
        for record in streamed:
            kind = json.loads(record["Data"])["type"]
            for consumer in self._consumers:
                if kind in consumer.types:
                    self._deliver(consumer, record["Data"])

    def _deliver(self, consumer: Consumer, document: bytes) -> None:
        if next(self._deliveries) % LATE_EVERY == 0:
            self.late += 1
            moment = self._due[0][0] if self._due else self._minute
            self._at(moment + self._chance.random() * MAX_DELAY, lambda: self._deliver_from_queue(consumer, document))
            return
        self._pending[consumer.name].append(document)
        if len(self._pending[consumer.name]) >= consumer.batch_size:
            self._deliver_batch(consumer)

    def _deliver_batch(self, consumer: Consumer) -> None:
        batch, self._pending[consumer.name] = self._pending[consumer.name], []
        if not batch:
            return
        if next(self._batches) % 2 == 0:
            self._chance.shuffle(batch)
        records = [{"eventSource": "aws:kinesis", "kinesis": {"data": base64.b64encode(one).decode()}} for one in batch]
        self._invoke(consumer.name, consumer.handler, {"Records": records})

    def _deliver_from_queue(self, consumer: Consumer, document: bytes) -> None:
        self._tally.add("SQS requests", SENT + POLLS)
        message = {
            "messageId": "message",
            "eventSource": "aws:sqs",
            "body": json.dumps({"detail": json.loads(document)}),
            "attributes": {"ApproximateReceiveCount": "1"},
        }
        self._invoke(consumer.name, consumer.handler, {"Records": [message]})

    def _aggregate(self) -> None:
        self._tally = self.scheduled
        self.minutes += 1
        self.sold += len(self._skus)
        self._skus.clear()
        self._invoke("AnalyticsAggregate", aggregate.handler, {})
        self._tally = self.used

    def _invoke(self, name: str, handler: Any, event: Any) -> None:
        self._tally.calls[f"Lambda {name}"] += 1
        self._tally.add("invocations", 1)
        answer = handler(event, CONTEXT)
        if answer.get("batchItemFailures"):
            message = f"{name} failed on {answer}"
            raise AssertionError(message)

    def _called(self, call: Call) -> None:
        # The aggregation makes calls from several threads.
        with self._counting:
            self._count(call)

    def _count(self, call: Call) -> None:
        self._tally.calls[f"{call.service} {call.operation}"] += 1
        match call.service:
            case "dynamodb":
                writes, reads = self._meter.units(call)
                self._tally.add("DynamoDB write units", writes)
                self._tally.add("DynamoDB read units", reads)
            case "events":
                for entry in call.parameters["Entries"]:
                    self._tally.add("events", math.ceil(len(entry["Detail"].encode()) / EVENT_CHUNK))
            case "kinesis":
                for record in call.parameters["Records"]:
                    self._tally.add("stream units", math.ceil((len(record["Data"]) + len(record["PartitionKey"])) / RECORD_CHUNK))
            case _:
                pass


def memory() -> float:
    """Return the megabytes of memory of the process, or its maximum so far where the system has no /proc.

    The requests that the in-memory services have recorded are dropped first.
    """
    clear_caches()
    gc.collect()
    try:
        return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _record(event: events.Event) -> Any:
    """Return the DynamoDB stream record of an appended event."""
    image = logged(event)
    return {"eventName": "INSERT", "dynamodb": {"Keys": {name: image[name] for name in ("order_id", "version")}, "NewImage": image}}


def _batch_size(function: str) -> int:
    """Return the batch size of a function's stream trigger in the template."""
    triggers = template.source()["Resources"][function]["Properties"]["Events"].values()
    [size] = [one["Properties"]["BatchSize"] for one in triggers if one["Type"] in {"DynamoDB", "Kinesis"}]
    return size
