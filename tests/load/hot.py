"""One hot product: the attempts that an order needs to reserve its stock, by the rate of orders.

A simulation in which the real code runs, `inventory.reservations.reserve` on the in-memory DynamoDB, with a clock, a random
generator and conflicts of its own. What it takes from where:

- conflicts, from DynamoDB's documentation of transactions: a transaction that meets another one at an item is cancelled as a whole
  (`TransactionConflict`), a single write that meets one is refused (`TransactionConflictException`), a read sees what was committed
- times: a call is there after a single-digit number of milliseconds, a transaction after two rounds of that, prepare and
  commit, and holds its items from the middle of the first to the end of the second; `slowness` makes all of it longer
- pauses between attempts: those of the code, `orderflow.aws.dynamodb.backoff`, and of the workflow, read from its definition.
  botocore does not repeat a cancelled transaction
- functions: an order goes to the process that was busy last, or to a new one, with an empty cache
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
from orderflow.domain.events import Address, Customer, Line, OrderPlaced
from orderflow.domain.money import Money
from tests.fakes.aws.dynamodb import FakeDynamoDB, Parameters, client_error
from tests.fakes.aws.environment import TABLES
from tests.load.clock import Clock

SAGA = Path(__file__).resolve().parents[2] / "workflows" / "fulfilment.asl.json"
SKU, OTHER = "HOT-RECORD", "MUG-BLUE"
LEAST, MOST = 0.003, 0.009
# So many a second are all at once.
AT_ONCE = 1_000_000
RATES = (25, 50, 125, 250, 500, AT_ONCE)
WANTED_RATE = 125
MOST_ATTEMPTS = 1.7
_KEYS = {table.name: tuple(table.key) for table in TABLES}
ADDRESS = Address("Ann Lee", "1 High St", "Leeds", "LS1 1AA", "GB")


@dataclass(frozen=True)
class Case:
    """A run: orders of one piece each at so many a second, for so many pieces, on a DynamoDB that is so many times slower."""

    rate: float
    orders: int = 1000
    pieces: int = 2000
    slowness: float = 1.0
    spreads: bool = True
    seed: int = 1


@dataclass
class Outcome:
    """The result: attempts are transactions, including those that shard the stock."""

    ends: Counter[str] = field(default_factory=Counter[str])
    attempts: int = 0
    reads: int = 0
    most: int = 0
    shards: int = 0
    available: int = 0
    reserved: int = 0
    seconds: float = 0.0
    faults: int = 0
    per_order: Counter[str] = field(default_factory=Counter[str])

    @property
    def attempts_per_order(self) -> float:
        """Transactions for each order that asked."""
        return self.attempts / self.ends.total()


class Contended:
    """The in-memory DynamoDB as it is when calls take their time and transactions meet."""

    def __init__(self, database: FakeDynamoDB, clock: Clock, chance: random.Random, slowness: float) -> None:
        """Put time and conflicts before a database."""
        self._database = database
        self._clock = clock
        self._chance = chance
        self._slowness = slowness
        self._held: set[Any] = set()
        self.exceptions = database.exceptions
        self.transactions = 0

    def __getattr__(self, name: str) -> Any:
        """Reads: half of the time to get there, half for the answer."""

        def call(**given: Any) -> Any:
            half = self._round() / 2
            self._clock.sleep(half)
            try:
                return getattr(self._database, name)(**given)
            finally:
                self._clock.sleep(half)

        return call

    def put_item(self, **given: Any) -> Any:
        """Refused where a transaction holds the item."""
        half = self._round() / 2
        self._clock.sleep(half)
        try:
            if _key(given) in self._held:
                raise client_error("PutItem", "TransactionConflictException", "Transaction is ongoing for the item")
            return self._database.put_item(**given)
        finally:
            self._clock.sleep(half)

    def transact_write_items(self, **given: Any) -> Any:
        """Prepare and commit; cancelled where another transaction holds an item."""
        self.transactions += 1
        prepare, commit = self._round(), self._round()
        self._clock.sleep(prepare / 2)
        keys = [_key(request) for item in given["TransactItems"] for request in item.values()]
        met = [key in self._held for key in keys]
        answer: Any = None
        refused: Any = _conflict(met) if any(met) else None
        if refused is None:
            try:
                answer = self._database.transact_write_items(**given)
            except self.exceptions.TransactionCanceledException as cancelled:
                refused = cancelled
        # One that is cancelled lets go of what it prepared a round later as well; what was refused is not prepared.
        reasons = refused.response["CancellationReasons"] if refused else [{"Code": "None"}] * len(keys)
        mine = {key for key, reason in zip(keys, reasons, strict=True) if reason["Code"] == "None"}
        self._held |= mine
        self._clock.sleep(prepare / 2 + commit)
        self._held -= mine
        if refused is not None:
            raise refused
        return answer

    def _round(self) -> float:
        return self._chance.uniform(LEAST, MOST) * self._slowness


def simulate(case: Case) -> Outcome:
    """Let orders come, each at its own moment, and all of them to their end."""
    clock, chance = Clock(), random.Random(case.seed)
    database = FakeDynamoDB(*TABLES)
    client = Contended(database, clock, chance, case.slowness)
    database.seed("Stock", {"sku": {"S": SKU}, "available": {"N": str(case.pieces)}, "reserved": {"N": "0"}})
    outcome, idle = Outcome(), list[Inventory]()
    log = OrderLog("OrderLog", client)  # pyright: ignore[reportArgumentType]
    retry = _retry()

    def order(order_id: str) -> None:
        for attempt in range(retry["MaxAttempts"] + 1):
            process = idle.pop() if idle else _process(client, spreads=case.spreads)
            try:
                end = reservations.reserve(log, process, order_id)
            except TransactionConflict:
                outcome.faults += 1
                if attempt < retry["MaxAttempts"]:
                    longest = min(retry["MaxDelaySeconds"], retry["IntervalSeconds"] * retry["BackoffRate"] ** attempt)
                    clock.sleep(chance.uniform(0, longest))
            else:
                outcome.ends[end] += 1
                return
            finally:
                idle.append(process)
        outcome.ends["rejected"] += 1

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


def _process(client: Any, *, spreads: bool) -> Inventory:
    process = Inventory("Stock", "Reservations", "ReturnedStock", client)
    if not spreads:
        setattr(process.shards, "_is_sharded", lambda _: False)  # noqa: B010 - as it would be without
    return process


def _place(database: FakeDynamoDB, order_id: str) -> None:
    price = Money(1999, "EUR")
    placed = OrderPlaced(Customer("ann", "ann@example.com"), (Line(SKU, "Record", 1, price),), price, ADDRESS, "GB")
    log = OrderLog("OrderLog", database.client)
    log.place(order_id, placed, correlation_id="c", fingerprint="f")


def _retry() -> dict[str, Any]:
    """Return what the workflow does after a fault of Reserve; all of it is of the definition."""
    (retry,) = json.loads(SAGA.read_text("utf-8"))["States"]["Reserve"]["Retry"]
    assert retry["JitterStrategy"] == "FULL"
    return retry


@contextmanager
def simulated(clock: Clock, chance: random.Random, *others: Any) -> Iterator[None]:
    """Have the code under test, the order log and other modules, pause on this clock, by this generator."""
    modules: tuple[Any, ...] = (dynamodb, *others)
    real = [(module, module.time, module.random) for module in modules]
    for module in modules:
        module.time, module.random = SimpleNamespace(sleep=clock.sleep), chance
    try:
        yield
    finally:
        for module, time, generator in real:
            module.time, module.random = time, generator


def _conflict(met: list[bool]) -> Exception:
    reasons = [{"Code": "TransactionConflict" if one else "None"} for one in met]
    message = "Transaction cancelled, please refer cancellation reasons for specific reasons"
    return client_error("TransactWriteItems", "TransactionCanceledException", message, CancellationReasons=reasons)


def _key(request: Parameters) -> Any:
    key = request.get("Key") or {name: request["Item"][name] for name in _KEYS[request["TableName"]]}
    return request["TableName"], tuple(sorted((name, *value.values()) for name, value in key.items()))
