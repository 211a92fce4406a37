"""Numbering invoices without a gap: how many a second come through, one by one and in batches.

A simulation in which the real code runs, `invoices.issuing.issue` on the in-memory DynamoDB, with the clock and the conflicts of
`tests.load.hot`. What it takes from where:

- times of DynamoDB, and what a transaction does to another: as in `tests.load.hot`
- S3: a PUT is there after some tens of milliseconds
- Lambda: as many functions at once as the template allows, each with a batch as large as the template allows, which is handed over
  when it is full or its window is over; processor time is not counted
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

# So many a second are all at once.
AT_ONCE = 1_000_000
RATES = (25, 100, 200, AT_ONCE)
# A second that have to be numbered.
WANTED = 200
COLUMNS = ("orders a second", "numbered a second", "s until then", "transactions", "documents", "not numbered")
LEAST, MOST = 0.015, 0.045
BEAT = 0.0005


@dataclass(frozen=True)
class Case:
    """A run: so many confirmed orders at so many a second, numbered in batches or one by one."""

    rate: float
    orders: int = 2000
    together: bool = True
    slowness: float = 1.0
    seed: int = 1


@dataclass
class Outcome:
    """The result: each order's waiting time for its invoice, and the calls."""

    waited: list[float] = field(default_factory=list[float])
    seconds: float = 0.0
    transactions: int = 0
    documents: int = 0
    read: int = 0
    positions: list[int] = field(default_factory=list[int])
    failed: int = 0

    @property
    def per_second(self) -> float:
        """Invoices a second from the first order to the last invoice."""
        return len(self.positions) / self.seconds

    @property
    def gapless(self) -> bool:
        """Return whether the numbers are 1, 2, 3 and so on, each once."""
        return self.positions == list(range(1, len(self.positions) + 1))


class _Bucket:
    """Takes documents, each after its time."""

    def __init__(self, clock: Clock, chance: random.Random, slowness: float) -> None:
        self._clock = clock
        self._chance = chance
        self._slowness = slowness
        self.puts = 0

    def put_object(self, **_: Any) -> None:
        self.puts += 1
        self._clock.sleep(self._chance.uniform(LEAST, MOST) * self._slowness)


class _Reading(hot.Contended):
    """Counts the items that queries of the invoices' table read."""

    read = 0

    def query(self, **given: Any) -> Any:
        answer = self.__getattr__("query")(**given)
        if given["TableName"] == "Invoices":
            self.read += answer["ScannedCount"]
        return answer


def simulate(case: Case) -> Outcome:
    """Let orders come, each at its own moment, and all of them to their invoices."""
    clock, chance = Clock(), random.Random(case.seed)
    database = FakeDynamoDB(*TABLES)
    client: Any = _Reading(database, clock, chance, case.slowness)
    bucket: Any = _Bucket(clock, chance, case.slowness)
    outcome, queue, came = Outcome(), deque[str](), dict[str, float]()
    source = _source()

    def arrive(order_id: str) -> None:
        came[order_id] = clock.now
        queue.append(order_id)

    def work() -> None:
        stores = issuing.Stores(
            OrderLog("OrderLog", client), InvoiceStore("Invoices", client), DocumentStore("Documents", bucket), _side_by_side(clock)
        )
        while len(outcome.waited) + outcome.failed < case.orders:
            if not queue or (len(queue) < source["BatchSize"] and clock.now - came[queue[0]] < source["MaximumBatchingWindowInSeconds"]):
                clock.sleep(0.01)
                continue
            batch = [queue.popleft() for _ in range(min(len(queue), source["BatchSize"]))]
            for some in [batch] if case.together else [[one] for one in batch]:
                for order_id, found in issuing.issue(stores, some).items():
                    if isinstance(found, Exception):
                        outcome.failed += 1
                    else:
                        outcome.waited.append(clock.now - came[order_id])

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


def missed(case: Case, found: Outcome) -> list[str]:
    """Return the violated requirements of numbering in batches."""
    wrong = [] if found.gapless else [f"the numbers of {case.orders} orders have gaps"]
    if case.rate == AT_ONCE and found.per_second < WANTED:
        wrong.append(f"{found.per_second:.0f} invoices a second, {WANTED} wanted")
    if case.rate <= WANTED and (found.failed or median(found.waited) > 1):
        wrong.append(f"at {case.rate} orders a second {found.failed} were not numbered, the others after {median(found.waited):.1f} s")
    return wrong


def row(case: Case, found: Outcome) -> tuple[str, ...]:
    """Return what a run came to: by invoice how many transactions and documents it took."""
    number = max(len(found.positions), 1)
    return (
        "all at once" if case.rate == AT_ONCE else f"{case.rate:.0f}",
        f"{found.per_second:.0f}",
        f"{median(found.waited) if found.waited else 0:.1f}",
        f"{found.transactions / number:.2f}",
        f"{found.documents / number:.2f}",
        str(case.orders - len(found.positions)),
    )


def _side_by_side(clock: Clock) -> Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]:
    """Return what `orderflow.aws.parallel` does, on this clock."""

    def each(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        some = list(items)
        results, left, busy = [None] * len(some), deque(range(len(some))), [min(CONNECTIONS, len(some))]

        def run() -> None:
            while left:
                number = left.popleft()
                results[number] = work(some[number])
            busy[0] -= 1

        for _ in range(busy[0]):
            clock.at(clock.now, run)
        while busy[0]:
            clock.sleep(BEAT)
        return results

    return each


def _source() -> dict[str, Any]:
    """Return how the template has the function's queue hand over its messages."""
    events = template.source()["Resources"]["InvoicesIssue"]["Properties"]["Events"].values()
    [source] = [one["Properties"] for one in events if one["Type"] == "SQS"]
    return source


def _confirm(database: FakeDynamoDB, order_id: str) -> None:
    for event in orders.history(*orders.CONFIRMED, order_id=order_id):
        keys = {"order_id": {"S": order_id}, "version": {"N": str(event.order_version)}}
        database.seed("OrderLog", {**keys, "type": {"S": event.type}, "event": {"S": encode(event).decode()}})
