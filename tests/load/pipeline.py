"""Many orders through the real publisher and the stream's consumers, analytics and ledger, in one process.

Events reach the publisher as the order log's stream brings them, and the consumers as Kinesis does: in batches as large as the
template allows, only of the types that its filters let through. One record of `TWICE` is redelivered in the next batch, one of
`LATE` minutes later from the consumer's queue, and every other batch in another order. What AWS would bill is counted call by
call by the meter of `make bench`; processor time and log lines are not. What runs by the clock is counted apart.

Rows are on disk, so the memory is that of the process alone: what the operating system says it has.
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
from tests.fakes.aws.dynamodb import FakeDynamoDB, forget
from tests.fakes.aws.environment import TABLES, Aws
from tests.fakes.aws.metered import Metered, schema_of
from tests.load import checks
from tests.load.disk import OnDisk
from tests.load.synthetic import PER_MINUTE, PRODUCTS, START, Orders, logged
from tests.support import runtime

TWICE = 25
LATE = 100
LATE_FOR = timedelta(minutes=4)
REMEMBERED = 10_000
MINUTE = timedelta(minutes=1)
CONTEXT = runtime.context()
HANDLERS = {"AnalyticsCount": analytics_count.handler, "LedgerPost": post_entries.handler}


class _Recent(OrderedDict[Key, int]):
    """The sizes of the latest items: older ones are not written again here."""

    def __setitem__(self, key: Key, value: int) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > REMEMBERED:
            self.popitem(last=False)


@dataclass
class Tally:
    """Usage: calls by service and operation, with invocations, and billed units."""

    calls: Counter[str] = field(default_factory=Counter[str])
    usage: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, what: str, quantity: float) -> None:
        """Count billed units."""
        self.usage[what] = self.usage.get(what, 0.0) + quantity

    def since(self, before: Tally) -> Tally:
        """Return the usage since `before`."""
        usage = {what: quantity - before.usage.get(what, 0.0) for what, quantity in self.usage.items()}
        return Tally(self.calls - before.calls, usage)

    def copy(self) -> Tally:
        """Return the usage so far."""
        return Tally(Counter(self.calls), dict(self.usage))

    def dollars(self, number: int) -> float:
        """Return what it costs for a million of what there were so many of."""
        return sum(item.dollars for item in bill(self.usage, number))


@dataclass(frozen=True)
class Consumer:
    """A function triggered by the stream: its event types and batch size."""

    name: str
    handler: Any
    types: frozenset[str]
    at_once: int


class Pipeline:
    """Publisher, stream and consumers on services in memory, their tables in files of a folder."""

    def __init__(self, folder: Path, seed: int = 1, products: int = PRODUCTS) -> None:
        """Start with empty tables, stored in files of `folder`. Enter the context before `bring`."""
        self._folder = folder
        self._files: list[OnDisk] = []
        self._aws = Aws(FakeDynamoDB(*TABLES, storage=self._file, keeps_changes=False))
        self.orders = Orders(seed, post_entries.FEES.basis_points, post_entries.FEES.fixed, products)
        self.used, self.clock = Tally(), Tally()
        self.minutes = self.twice = self.late = self.sold = 0
        self._skus = set[str]()
        self._into = self.used
        self._meter = Meter({table.name: schema_of(table) for table in TABLES}, _Recent())
        self._consumers = [Consumer(name, handler, comparison.consumers()[name][1], _at_once(name)) for name, handler in HANDLERS.items()]
        self._publishes = _at_once("OrdersPublish")
        self._batch: list[Any] = []
        self._waiting: dict[str, list[bytes]] = {one.name: [] for one in self._consumers}
        self._due: list[tuple[datetime, int, Callable[[], None]]] = []
        self._numbers, self._records, self._arrivals, self._batches = count(), count(1), count(1), count(1)
        self._minute = START + MINUTE
        self._chance = random.Random(seed)
        self._level = logging.CRITICAL
        self._counting = threading.Lock()

    def __enter__(self) -> Self:
        """Lend the services to the functions, and have these log nothing."""
        aws = self._aws
        services = {"dynamodb": aws.dynamodb, "events": aws.events, "kinesis": aws.kinesis, "sqs": aws.sqs}
        clients.lend(**{name: Metered(client, name, self._called) for name, client in services.items()})
        self._swap_level()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the services back, and close the files."""
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

    def bring(self, orders: int, progress: Callable[[int], None] = lambda _: None) -> None:
        """Run `number` more orders to their end, with all consumers."""
        for number in range(orders):
            for event in self.orders.next():
                self._at(event.occurred_at, lambda event=event: self._appended(event))
            self._pass(until=START + timedelta(minutes=self.orders.made / PER_MINUTE))
            progress(number + 1)
        while self._due or self._batch or any(self._waiting.values()):
            self._pass()
            self._publish()
            for consumer in self._consumers:
                self._hand_over(consumer)
        self._sum_up()

    def differences(self) -> list[str]:
        """Return the differences between analytics, ledger and the orders; empty where there are none."""
        database, truth = self._aws.dynamodb, self.orders.truth
        found = [
            *checks.analytics(AnalyticsStore("AnalyticsSums", database.client), truth),
            *checks.ledger(database.each("LedgerEntries"), truth),
        ]
        if self._aws.sqs.sent:
            found.append(f"{sum(map(len, self._aws.sqs.sent.values()))} messages could not be worked off")
        return found

    @property
    def products(self) -> int:
        """How many products were sold."""
        return sum(name.startswith("units/") for name in self.orders.truth.counters)

    @property
    def largest(self) -> int:
        """Bytes of the largest item of analytics, without its key."""
        return max(len(item["packed"]["B"]) for item in self._aws.dynamodb.each("AnalyticsSums") if "packed" in item)

    def _at(self, moment: datetime, work: Callable[[], None]) -> None:
        heapq.heappush(self._due, (moment, next(self._numbers), work))

    def _pass(self, until: datetime | None = None) -> None:
        """Let time pass until a moment, or until nothing more is due."""
        while self._due and (until is None or self._due[0][0] < until):
            moment, _, work = heapq.heappop(self._due)
            while moment >= self._minute:
                self._sum_up()
                self._minute += MINUTE
            work()

    def _appended(self, event: events.Event) -> None:
        """Bring an event to the publisher with the next batch; some come with the one after that as well."""
        if isinstance(event.data, events.OrderConfirmed):
            self._skus |= {line.sku for line in event.data.lines}
        again, record = next(self._records) % TWICE == 0, _record(event)
        self._add(record)
        if again:
            self.twice += 1
            self._at(event.occurred_at + timedelta(seconds=2), lambda: self._add(record))

    def _add(self, record: Any) -> None:
        self._batch.append(record)
        if len(self._batch) >= self._publishes:
            self._publish()

    def _publish(self) -> None:
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        self._invoke("OrdersPublish", publish.handler, {"Records": batch})
        streamed, self._aws.kinesis.records = self._aws.kinesis.records, []
        # Consumers of the bus are not part of this test.
        self._aws.events.entries.clear()
        for batches in (self._aws.kinesis.batches, self._aws.events.batches):
            batches.clear()
        for record in streamed:
            kind = json.loads(record["Data"])["type"]
            for consumer in self._consumers:
                if kind in consumer.types:
                    self._arrived(consumer, record["Data"])

    def _arrived(self, consumer: Consumer, document: bytes) -> None:
        if next(self._arrivals) % LATE == 0:
            self.late += 1
            moment = self._due[0][0] if self._due else self._minute
            self._at(moment + self._chance.random() * LATE_FOR, lambda: self._queued(consumer, document))
            return
        self._waiting[consumer.name].append(document)
        if len(self._waiting[consumer.name]) >= consumer.at_once:
            self._hand_over(consumer)

    def _hand_over(self, consumer: Consumer) -> None:
        batch, self._waiting[consumer.name] = self._waiting[consumer.name], []
        if not batch:
            return
        if next(self._batches) % 2 == 0:
            self._chance.shuffle(batch)
        records = [{"eventSource": "aws:kinesis", "kinesis": {"data": base64.b64encode(one).decode()}} for one in batch]
        self._invoke(consumer.name, consumer.handler, {"Records": records})

    def _queued(self, consumer: Consumer, document: bytes) -> None:
        self._into.add("SQS requests", SENT + POLLS)
        message = {
            "messageId": "message",
            "eventSource": "aws:sqs",
            "body": json.dumps({"detail": json.loads(document)}),
            "attributes": {"ApproximateReceiveCount": "1"},
        }
        self._invoke(consumer.name, consumer.handler, {"Records": [message]})

    def _sum_up(self) -> None:
        self._into = self.clock
        self.minutes += 1
        self.sold += len(self._skus)
        self._skus.clear()
        self._invoke("AnalyticsAggregate", aggregate.handler, {})
        self._into = self.used

    def _invoke(self, name: str, handler: Any, event: Any) -> None:
        self._into.calls[f"Lambda {name}"] += 1
        self._into.add("invocations", 1)
        answer = handler(event, CONTEXT)
        if answer.get("batchItemFailures"):
            message = f"{name} could not work off {answer}"
            raise AssertionError(message)

    def _called(self, call: Call) -> None:
        # Summing up makes several calls at once.
        with self._counting:
            self._count(call)

    def _count(self, call: Call) -> None:
        self._into.calls[f"{call.service} {call.operation}"] += 1
        match call.service:
            case "dynamodb":
                writes, reads = self._meter.units(call)
                self._into.add("DynamoDB write units", writes)
                self._into.add("DynamoDB read units", reads)
            case "events":
                for entry in call.parameters["Entries"]:
                    self._into.add("events", math.ceil(len(entry["Detail"].encode()) / EVENT_CHUNK))
            case "kinesis":
                for record in call.parameters["Records"]:
                    self._into.add("stream units", math.ceil((len(record["Data"]) + len(record["PartitionKey"])) / RECORD_CHUNK))
            case _:
                pass


def memory() -> float:
    """Return the megabytes that the process has in memory now; where the system does not tell, the most that it had.

    What the stand-ins remember of requests is no part of it.
    """
    forget()
    gc.collect()
    try:
        return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _record(event: events.Event) -> Any:
    """Return a new item of the order log as the table's stream shows it."""
    image = logged(event)
    return {"eventName": "INSERT", "dynamodb": {"Keys": {name: image[name] for name in ("order_id", "version")}, "NewImage": image}}


def _at_once(function: str) -> int:
    """Return how many records of a stream a function gets at most, by the template."""
    triggers = template.source()["Resources"][function]["Properties"]["Events"].values()
    [size] = [one["Properties"]["BatchSize"] for one in triggers if one["Type"] in {"DynamoDB", "Kinesis"}]
    return size
