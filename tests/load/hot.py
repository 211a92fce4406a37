"""One hot product: the attempts that an order needs to reserve its stock, by the rate of orders.

The real code, `inventory.reservations.reserve`, runs on the in-memory DynamoDB with a simulated clock, a seeded random generator
and simulated conflicts. Assumptions and their sources:

- conflicts, from DynamoDB's documentation of transactions: a conflicting transaction is cancelled as a whole
  (`TransactionConflict`), a conflicting single write is rejected (`TransactionConflictException`), a read returns committed values
- latency: a call takes a single-digit number of milliseconds. A transaction takes two such rounds, prepare and commit, and locks
  its items from the middle of the first to the end of the second. `slowness` multiplies all of it
- backoff between attempts: that of the code, `orderflow.aws.dynamodb.backoff`, and that of the workflow's definition; botocore
  does not retry a cancelled transaction
- functions: an order is processed by the most recently idle process, or by a new one with an empty cache
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from inventory import reservations
from inventory.store import Inventory
from orderflow.aws import dynamodb
from orderflow.aws.dynamodb import TransactionConflict
from orderflow.aws.order_log import OrderLog
from tests.fakes.aws.dynamodb import FakeDynamoDB, Parameters, client_error
from tests.fakes.aws.environment import TABLES
from tests.load.clock import Clock
from tests.support import sales

SAGA = Path(__file__).resolve().parents[2] / "workflows" / "fulfilment.asl.json"
SKU = "HOT-RECORD"
# Latency of a call, in seconds.
MIN_LATENCY, MAX_LATENCY = 0.003, 0.009
# A rate at which all orders arrive at once.
ALL_AT_ONCE = 1_000_000
RATES = (25, 50, 125, 250, 500, ALL_AT_ONCE)
TARGET_RATE = 125
MAX_ATTEMPTS = 1.7
_KEYS = {table.name: tuple(table.key) for table in TABLES}


@dataclass(frozen=True)
class Case:
    """The parameters of a run: `orders` of one unit each, `rate` per second, for `units` in stock.

    `slowness` multiplies DynamoDB's latency; without `sharded` the stock is on one row.
    """

    rate: float
    orders: int = 1000
    units: int = 2000
    slowness: float = 1.0
    sharded: bool = True
    seed: int = 1


@dataclass
class Outcome:
    """The result of a run; `attempts` are transactions, including those that shard the stock."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    attempts: int = 0
    reads: int = 0
    shards: int = 0
    available: int = 0
    reserved: int = 0
    seconds: float = 0.0
    faults: int = 0

    @property
    def attempts_per_order(self) -> float:
        return self.attempts / self.outcomes.total()


class ConcurrentDynamoDB:
    """The in-memory DynamoDB with simulated latency and transaction conflicts."""

    def __init__(self, database: FakeDynamoDB, clock: Clock, chance: random.Random, slowness: float) -> None:
        self._database = database
        self._clock = clock
        self._chance = chance
        self._slowness = slowness
        self._locked: set[Any] = set()
        self.exceptions = database.exceptions
        self.transactions = 0

    def __getattr__(self, name: str) -> Any:
        """Return a read, which executes in the middle of its latency."""

        def call(**given: Any) -> Any:
            half = self._latency() / 2
            self._clock.sleep(half)
            try:
                return getattr(self._database, name)(**given)
            finally:
                self._clock.sleep(half)

        return call

    def put_item(self, **given: Any) -> Any:
        """Put an item; rejected if a transaction has locked it."""
        half = self._latency() / 2
        self._clock.sleep(half)
        try:
            if _key(given) in self._locked:
                raise client_error("PutItem", "TransactionConflictException", "Transaction is ongoing for the item")
            return self._database.put_item(**given)
        finally:
            self._clock.sleep(half)

    def transact_write_items(self, **given: Any) -> Any:
        """Prepare and commit; cancelled if another transaction has locked an item."""
        self.transactions += 1
        prepare, commit = self._latency(), self._latency()
        self._clock.sleep(prepare / 2)
        keys = [_key(request) for item in given["TransactItems"] for request in item.values()]
        conflicts = [key in self._locked for key in keys]
        answer: Any = None
        cancellation: Any = _conflict(conflicts) if any(conflicts) else None
        if cancellation is None:
            try:
                answer = self._database.transact_write_items(**given)
            except self.exceptions.TransactionCanceledException as cancelled:
                cancellation = cancelled
        # A cancelled transaction also locks the items that it prepared until the end of its second round.
        reasons = cancellation.response["CancellationReasons"] if cancellation else [{"Code": "None"}] * len(keys)
        prepared = {key for key, reason in zip(keys, reasons, strict=True) if reason["Code"] == "None"}
        self._locked |= prepared
        self._clock.sleep(prepare / 2 + commit)
        self._locked -= prepared
        if cancellation is not None:
            raise cancellation
        return answer

    def _latency(self) -> float:
        return self._chance.uniform(MIN_LATENCY, MAX_LATENCY) * self._slowness


def simulate(case: Case) -> Outcome:
    """Reserve stock for all orders of a case, which arrive at random times."""
    clock, chance = Clock(), random.Random(case.seed)
    database = FakeDynamoDB(*TABLES)
    client = ConcurrentDynamoDB(database, clock, chance, case.slowness)
    database.seed("Stock", {"sku": {"S": SKU}, "available": {"N": str(case.units)}, "reserved": {"N": "0"}})
    outcome, idle = Outcome(), list[Inventory]()
    log = OrderLog("OrderLog", client)  # pyright: ignore[reportArgumentType]
    retry = _retry()

    def order(order_id: str) -> None:
        for attempt in range(retry["MaxAttempts"] + 1):
            process = idle.pop() if idle else _process(client, sharded=case.sharded)
            try:
                end = reservations.reserve(log, process, order_id)
            except TransactionConflict:
                outcome.faults += 1
                if attempt < retry["MaxAttempts"]:
                    longest = min(retry["MaxDelaySeconds"], retry["IntervalSeconds"] * retry["BackoffRate"] ** attempt)
                    clock.sleep(chance.uniform(0, longest))
            else:
                outcome.outcomes[end] += 1
                return
            finally:
                idle.append(process)
        outcome.outcomes["rejected"] += 1

    moment = 0.0
    for number in range(case.orders):
        order_id = f"ord_{chance.getrandbits(64):016x}{number:06d}"
        _place(database, order_id)
        moment += chance.expovariate(case.rate)
        clock.at(moment, lambda order_id=order_id: order(order_id))
    with simulated(clock, chance):
        clock.run()
    rows = database.items("Stock")
    outcome.attempts, outcome.reads = client.transactions, database.calls["BatchGetItem"]
    outcome.shards, outcome.seconds = len(rows), clock.now
    outcome.available, outcome.reserved = (sum(int(row[part]["N"]) for row in rows) for part in ("available", "reserved"))
    return outcome


def _process(client: Any, *, sharded: bool) -> Inventory:
    process = Inventory("Stock", "Reservations", "ReturnedStock", client)
    if not sharded:
        setattr(process.shards, "_is_sharded", lambda _: False)  # noqa: B010 - the type declares a method
    return process


def _place(database: FakeDynamoDB, order_id: str) -> None:
    log = OrderLog("OrderLog", database.client)
    log.place(order_id, sales.placed({SKU: 1}), correlation_id="c", fingerprint="f")


def _retry() -> dict[str, Any]:
    """Return the workflow's retry rule for faults of Reserve."""
    *_, retry = json.loads(SAGA.read_text("utf-8"))["States"]["Reserve"]["Retry"]
    assert retry["JitterStrategy"] == "FULL"
    return retry


@contextmanager
def simulated(clock: Clock, chance: random.Random, *others: Any) -> Iterator[None]:
    """Within the context, the order log and `others` sleep on this clock and draw from this random generator."""
    modules: tuple[Any, ...] = (dynamodb, *others)
    real = [(module, module.time, module.random) for module in modules]
    for module in modules:
        module.time, module.random = SimpleNamespace(sleep=clock.sleep), chance
    try:
        yield
    finally:
        for module, time, generator in real:
            module.time, module.random = time, generator


def _conflict(conflicts: list[bool]) -> Exception:
    reasons = [{"Code": "TransactionConflict" if one else "None"} for one in conflicts]
    message = "Transaction cancelled, please refer cancellation reasons for specific reasons"
    return client_error("TransactWriteItems", "TransactionCanceledException", message, CancellationReasons=reasons)


def _key(request: Parameters) -> Any:
    key = request.get("Key") or {name: request["Item"][name] for name in _KEYS[request["TableName"]]}
    return request["TableName"], tuple(sorted((name, *value.values()) for name, value in key.items()))
