"""Gapless invoice numbers: the invoices per second, one by one and in batches.

The real code, `invoices.issuing.issue`, runs on the in-memory DynamoDB with a simulated clock. Assumptions and their sources:

- DynamoDB's latency and transaction conflicts: as in `tests.load.hot`
- S3: a PUT takes some tens of milliseconds
- Lambda: the template's number of concurrent functions, batch size and batching window; CPU time is not simulated
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from devtools import template
from invoices import issuing
from invoices.document_store import DocumentStore
from invoices.invoice_store import InvoiceStore
from orderflow.aws.clients import CONNECTIONS
from orderflow.aws.order_log import OrderLog
from orderflow.domain.events import encode
from tests.fakes.aws.dynamodb import FakeDynamoDB
from tests.fakes.aws.environment import TABLES
from tests.load import hot
from tests.load.clock import Clock
from tests.support import orders

RATES = (25, 100, 200, hot.ALL_AT_ONCE)
# Invoices per second.
TARGET_RATE = 200
COLUMNS = ("orders per second", "invoices per second", "median s", "transactions", "documents", "not numbered")
# Latency of an S3 PUT, in seconds.
MIN_LATENCY, MAX_LATENCY = 0.015, 0.045
POLL_SECONDS = 0.0005


@dataclass(frozen=True)
class Case:
    """The parameters of a run: confirmed orders at `rate` per second, numbered in batches or one by one."""

    rate: float
    orders: int = 2000
    batched: bool = True
    slowness: float = 1.0
    seed: int = 1


@dataclass
class Outcome:
    """The result of a run: each order's wait for its invoice in seconds, and the calls."""

    waits: list[float] = field(default_factory=list[float])
    seconds: float = 0.0
    transactions: int = 0
    documents: int = 0
    read: int = 0
    positions: list[int] = field(default_factory=list[int])
    failed: int = 0

    @property
    def per_second(self) -> float:
        """Invoices per second from the first order to the last invoice."""
        return len(self.positions) / self.seconds

    @property
    def gapless(self) -> bool:
        """Whether the numbers are 1, 2, 3 and so on, each once."""
        return self.positions == list(range(1, len(self.positions) + 1))


class _Bucket:
    """An S3 bucket with simulated latency; counts its PUTs."""

    def __init__(self, clock: Clock, chance: random.Random, slowness: float) -> None:
        self._clock = clock
        self._chance = chance
        self._slowness = slowness
        self.puts = 0

    def put_object(self, **_: Any) -> None:
        self.puts += 1
        self._clock.sleep(self._chance.uniform(MIN_LATENCY, MAX_LATENCY) * self._slowness)


class _CountingDynamoDB(hot.ConcurrentDynamoDB):
    """Counts the items that queries of the Invoices table read."""

    read = 0

    def query(self, **given: Any) -> Any:
        answer = self.__getattr__("query")(**given)
        if given["TableName"] == "Invoices":
            self.read += answer["ScannedCount"]
        return answer


def simulate(case: Case) -> Outcome:
    """Issue invoices for all orders of a case, which arrive at random times."""
    clock, chance = Clock(), random.Random(case.seed)
    database = FakeDynamoDB(*TABLES)
    client: Any = _CountingDynamoDB(database, clock, chance, case.slowness)
    bucket: Any = _Bucket(clock, chance, case.slowness)
    outcome, queue, arrived_at = Outcome(), deque[str](), dict[str, float]()
    source = _event_source()

    def arrive(order_id: str) -> None:
        arrived_at[order_id] = clock.now
        queue.append(order_id)

    def work() -> None:
        stores = issuing.Stores(
            OrderLog("OrderLog", client), InvoiceStore("Invoices", client), DocumentStore("Documents", bucket), _parallel(clock)
        )
        window = source["MaximumBatchingWindowInSeconds"]
        while len(outcome.waits) + outcome.failed < case.orders:
            if not queue or (len(queue) < source["BatchSize"] and clock.now - arrived_at[queue[0]] < window):
                clock.sleep(0.01)
                continue
            batch = [queue.popleft() for _ in range(min(len(queue), source["BatchSize"]))]
            for some in [batch] if case.batched else [[one] for one in batch]:
                for order_id, found in issuing.issue(stores, some).items():
                    if isinstance(found, Exception):
                        outcome.failed += 1
                    else:
                        outcome.waits.append(clock.now - arrived_at[order_id])

    moment = 0.0
    for number in range(case.orders):
        order_id = f"ord_{number:06d}"
        _confirm(database, order_id)
        moment += chance.expovariate(case.rate)
        clock.at(moment, lambda order_id=order_id: arrive(order_id))
    _, protected, _ = source["ScalingConfig"]["Fn::If"]
    for _ in range(protected["MaximumConcurrency"]):
        clock.at(0.0, work)
    with hot.simulated(clock, chance, issuing):
        clock.run()
    outcome.seconds, outcome.transactions, outcome.documents, outcome.read = clock.now, client.transactions, bucket.puts, client.read
    outcome.positions = sorted(int(item["position"]["N"]) for item in database.items("Invoices"))
    return outcome


def missed(case: Case, outcome: Outcome) -> list[str]:
    """Return the targets that numbering in batches misses."""
    found = [] if outcome.gapless else [f"the invoice numbers of {case.orders} orders have gaps"]
    if case.rate == hot.ALL_AT_ONCE and outcome.per_second < TARGET_RATE:
        found.append(f"{outcome.per_second:.0f} invoices per second, at least {TARGET_RATE} required")
    if case.rate <= TARGET_RATE and (outcome.failed or median(outcome.waits) > 1):
        found.append(f"{outcome.failed} orders not numbered and a median of {median(outcome.waits):.1f} s at {case.rate} orders per second")
    return found


def row(case: Case, outcome: Outcome) -> tuple[str, ...]:
    """Return a run's row of the table; transactions and documents are per invoice."""
    number = max(len(outcome.positions), 1)
    return (
        "all at once" if case.rate == hot.ALL_AT_ONCE else f"{case.rate:.0f}",
        f"{outcome.per_second:.0f}",
        f"{median(outcome.waits) if outcome.waits else 0:.1f}",
        f"{outcome.transactions / number:.2f}",
        f"{outcome.documents / number:.2f}",
        str(case.orders - len(outcome.positions)),
    )


def _parallel(clock: Clock) -> Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]:
    """Return `orderflow.aws.parallel` on the simulated clock."""

    def each(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        some = list(items)
        results, pending, busy = [None] * len(some), deque(range(len(some))), [min(CONNECTIONS, len(some))]

        def run() -> None:
            while pending:
                number = pending.popleft()
                results[number] = work(some[number])
            busy[0] -= 1

        for _ in range(busy[0]):
            clock.at(clock.now, run)
        while busy[0]:
            clock.sleep(POLL_SECONDS)
        return results

    return each


def _event_source() -> dict[str, Any]:
    """Return the properties of the queue's trigger in the template."""
    events = template.source()["Resources"]["InvoicesIssue"]["Properties"]["Events"].values()
    [source] = [one["Properties"] for one in events if one["Type"] == "SQS"]
    return source


def _confirm(database: FakeDynamoDB, order_id: str) -> None:
    for event in orders.history(*orders.CONFIRMED, order_id=order_id):
        keys = {"order_id": {"S": order_id}, "version": {"N": str(event.order_version)}}
        database.seed("OrderLog", {**keys, "type": {"S": event.type}, "event": {"S": encode(event).decode()}})
