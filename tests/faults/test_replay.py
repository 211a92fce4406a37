"""A replay under every fault of every call: projections end correct, from existing or no rows, and no other consumer runs.

The same holds for new events that streams deliver to these consumers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from analytics.domain.counting_rules import MINUTE
from analytics.handlers import aggregate, count_events
from analytics.store import AnalyticsStore
from devtools import template
from ledger.handlers import post_entries
from loyalty.handlers import award_points
from orderflow.aws.order_log import OrderLog
from orderflow.domain.commands import Command, RecordCapture, RecordDispatch, RecordLoss, RecordRefund
from orderflow.domain.events import STREAM_ONLY_EVENTS
from orderflow.domain.order import remaining
from orders.handlers import project
from tests.conftest import ENVIRONMENT
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, Item
from tests.fakes.aws.environment import TABLES, Aws
from tests.fakes.aws.event_patterns import matches
from tests.faults.conftest import Tally
from tests.faults.faults import Call, Disturbance, target_of
from tests.faults.paths import Stage
from tests.faults.simulation import ATTEMPTS
from tests.faults.sweeps import Sweep
from tests.support import sales
from tests.support.prepared import advance, an_order, place
from tests.support.runtime import CONTEXT

BATCH = 5
# The module and the handler of each consumer that replays reach, by its table.
REPLAYED: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "OrderViewRule": ("OrdersProject", project.handler),
    "LedgerRule": ("LedgerPost", post_entries.handler),
    "LoyaltyAwardRule": ("LoyaltyAward", award_points.handler),
    "AnalyticsCountRule": ("AnalyticsCount", count_events.handler),
}
PROJECTIONS = ("OrderView", "LedgerEntries", "LoyaltyPoints", "AnalyticsSums")
# Fields that depend on the time of posting.
POSTING_FIELDS = ("posted_at", "sheet")
SOURCE = template.source()
# Rules of the stack's bus: alarms arrive on the default bus.
RULES = {
    name: one["Properties"]["EventPattern"]
    for name, one in SOURCE["Resources"].items()
    if one["Type"] == "AWS::Events::Rule" and "EventBusName" in one["Properties"]
}


type Tables = dict[str, list[Item]]
type Events = list[dict[str, Any]]
# Each rule's consumer: fed by a stream, or by its queue.
type Batch = tuple[str, bool, Events]


@dataclass
class Replay:
    """Delivers archived events to every rule that takes them, in queue batches; `tables` are the tables before.

    With `streamed`, delivers them as new events: by the stream, and by the bus for rules that are not for replays only.
    """

    archived: Events
    tables: Tables
    disturbance: Disturbance
    attempts: int = 1
    streamed: bool = False
    aws: Aws = field(init=False)
    triggered: list[str] = field(default_factory=list[str])
    waiting: list[Batch] = field(default_factory=list[Batch])
    _current: str = ""

    def __post_init__(self) -> None:
        """Inject faults into every call, and route every event to its rules."""
        database = FakeDynamoDB(*TABLES, attempts=self.attempts)
        for table, items in self.tables.items():
            database.seed(table, *items)
        self.aws = Aws(database)
        for name, service in {"dynamodb": database, "sqs": self.aws.sqs, "events": self.aws.events, "sns": self.aws.sns}.items():
            service.before, service.after = self._hooks(name)
        self.aws.lend()
        sent = [{"detail-type": one["type"], "source": one["source"], "replay-name": "again", "detail": one} for one in self.archived]
        for name, pattern in RULES.items():
            taken = [one for one in sent if matches(pattern, one)]
            if name in REPLAYED:
                streamed = self.streamed and "replay-name" in pattern
                self.waiting += [(name, streamed, taken[begin : begin + BATCH]) for begin in range(0, len(taken), BATCH)]
            elif not self.streamed:
                self.triggered += [f"{name} takes {one['detail-type']}" for one in taken]

    def _hooks(self, service: str) -> tuple[Any, Any]:
        def call(operation: str, given: Any) -> Call:
            return Call(self._current, service, operation, target_of(given))

        return (
            lambda operation, given: self.disturbance.before(call(operation, given), given),
            lambda operation, given: self.disturbance.after(call(operation, given), given),
        )

    def work(self) -> None:
        """Deliver every batch until it succeeds or reaches the retry limit, and aggregate once."""
        for _ in range(ATTEMPTS):
            self.waiting = [left for batch in self.waiting for left in self._deliver_once(*batch) if left[2]]
        self._current = "AnalyticsAggregate"
        try:
            aggregate.handler({}, CONTEXT)
        except (Crash, Exception):  # noqa: BLE001 - any failure is retried by the next run
            aggregate.handler({}, CONTEXT)

    def _deliver_once(self, rule: str, streamed: bool, batch: Events) -> list[Batch]:
        """Deliver a batch once, and return the messages to retry: all of them, or the failed ones, which are in the queue then."""
        self._current, handler = REPLAYED[rule]
        documents = [one["detail"] if streamed else one for one in batch]
        try:
            answer = handler({"Records": [(_record if streamed else _message)(*one) for one in enumerate(documents)]}, CONTEXT)
        except (Crash, Exception):  # noqa: BLE001 - the whole batch is redelivered
            parked = self._parked(rule)
            return [*parked, (rule, streamed, batch)]
        return [*self._parked(rule), (rule, False, [batch[int(item["itemIdentifier"])] for item in answer["batchItemFailures"]])]

    def _parked(self, rule: str) -> list[Batch]:
        """Return the failed records that a stream consumer sent to its queue."""
        return [(rule, False, [left]) for left in self.aws.sqs.sent.pop(ENVIRONMENT["RETRY_QUEUE_URL"], [])]

    def wrong(self, wanted: dict[str, Any]) -> list[str]:
        """Return the differences from the expected rows, and all other effects."""
        self.disturbance = Disturbance()
        found = [
            *self.triggered,
            *(f"{rule} did not process {[one['detail']['event_id'] for one in batch]}" for rule, _, batch in self.waiting),
        ]
        there = state(self.aws)
        found += [f"{what}: {there[what]}, not {wanted[what]}" for what in wanted if there[what] != wanted[what]]
        posted = [one for one in self.tables.get("LedgerEntries", []) if one not in self.aws.dynamodb.items("LedgerEntries")]
        found += [f"{one['event_id']['S']} was posted again" for one in posted]
        others = {table.name for table in TABLES} - set(PROJECTIONS)
        found += [f"{table} was changed" for table in others if self.aws.dynamodb.items(table) != self.tables.get(table, [])]
        outside = {"bus": self.aws.events.entries, "topics": self.aws.sns.published, "queues": self.aws.sqs.sent, "s3": self.aws.s3.objects}
        return found + [f"{name}: {sent}" for name, sent in {**outside, "sagas": self.aws.stepfunctions.started}.items() if sent]


def _message(number: int, event: dict[str, Any]) -> dict[str, Any]:
    known = {"eventSource": "aws:sqs", "attributes": {"ApproximateReceiveCount": "1"}}
    return {**known, "messageId": str(number), "body": json.dumps(event)}


def _record(_: int, event: dict[str, Any]) -> dict[str, Any]:
    return sales.record(json.dumps(event).encode())


def state(aws: Aws) -> dict[str, Any]:
    """Return the projections' rows without fields that depend on the time of processing."""
    store = AnalyticsStore("AnalyticsSums", aws.dynamodb.client)
    found: dict[str, Any] = {
        "list": aws.dynamodb.items("OrderView"),
        "points": aws.dynamodb.items("LoyaltyPoints"),
        "ledger": [{name: of for name, of in one.items() if name not in POSTING_FIELDS} for one in aws.dynamodb.items("LedgerEntries")],
    }
    sums: dict[str, Any] = {}
    for item in aws.dynamodb.items("AnalyticsSums"):
        period, name = item["period"]["S"], item["place"]["S"]
        if period == "board":
            sums[name] = store.leaderboard(*name.split("/"))
        elif period == "new":
            sums["not aggregated"] = name
        elif period.startswith("products/"):
            sums[period] = [one.units for one in store.ranges(period.removeprefix("products/"))]
        elif period != "batch" and len(period) != MINUTE:
            sums[name] = store.total(name).counters
    return {**found, "sales": sums}


def tables_of(aws: Aws, *without: str) -> Tables:
    """Return the items of all tables."""
    return {table.name: aws.dynamodb.items(table.name) for table in TABLES if table.name not in without}


def on_the_bus(aws: Aws) -> Events:
    """Return the archived events of the log, oldest first."""
    logged = [record["dynamodb"]["NewImage"] for record in aws.dynamodb.changes["OrderLog"] if record["eventName"] == "INSERT"]
    return [json.loads(item["event"]["S"]) for item in logged if item["type"]["S"] not in STREAM_ONLY_EVENTS]


@dataclass(frozen=True)
class ArchivedOrders:
    """A few orders' archived events, the tables and the projections."""

    archived: Events
    tables: Tables
    projections: dict[str, Any]

    @property
    def dropped(self) -> Tables:
        """Return the tables without the projections."""
        return {table: items for table, items in self.tables.items() if table not in PROJECTIONS}


@cache
def archived_orders() -> ArchivedOrders:
    """Return an order that was confirmed, lost and refunded, and one without stock, processed from streams."""
    aws = Aws()
    aws.lend()
    log = OrderLog("OrderLog", aws.dynamodb.client)
    order = an_order(log, "ord_1").confirmed().order
    happens: list[Command] = [RecordDispatch("parcel_1", remaining(order)), RecordCapture("parcel_1", "cap_1"), RecordLoss("parcel_1")]
    for command in (*happens, RecordRefund("ref_1", "parcel:parcel_1")):
        order = log.record(order, command, source="payments").order
    place(log, "ord_2", customer="bob", lines={"SOLD-OUT-LAMP": 1})
    advance(log, "ord_2", "inventory.handlers.reserve_stock", "orders.handlers.finalize_order")
    archived = on_the_bus(aws)
    happened = Replay(archived, tables_of(aws), Disturbance(), streamed=True)
    happened.work()
    assert not happened.waiting
    return ArchivedOrders(archived, tables_of(happened.aws), state(happened.aws))


def test_every_replayed_consumer_has_events(stage: Stage) -> None:
    assert all(archived_orders().projections.values())
    assert {name for name, pattern in RULES.items() if pattern.get("replay-name") != [{"exists": False}]} == set(REPLAYED)


@dataclass(frozen=True)
class Case:
    """The tables before, and whether a stream or a replay delivers the events."""

    before: Callable[[ArchivedOrders], Tables]
    streamed: bool = False

    def run(self, archived: Events, disturbance: Disturbance, attempts: int = 1) -> Replay:
        """Return the replay before its first delivery."""
        return Replay(archived, self.before(archived_orders()), disturbance, attempts, self.streamed)

    def calls(self, archived: Events) -> list[tuple[int, Call]]:
        """Return the numbered calls of a run without faults, except aggregation, which test_analytics.py sweeps."""
        replay = self.run(archived, Disturbance())
        replay.work()
        calls = list(enumerate(replay.disturbance.calls))
        assert replay.wrong(archived_orders().projections) == []
        return [(number, call) for number, call in calls if call.function != "AnalyticsAggregate"]


CASES = {
    "replayed onto existing rows": Case(lambda archived_orders: archived_orders.tables),
    "replayed onto empty tables": Case(lambda archived_orders: archived_orders.dropped),
    "streamed": Case(lambda archived_orders: archived_orders.dropped, streamed=True),
}
every_case = pytest.mark.parametrize("path", CASES)


@every_case
def test_single_fault_of_one_call(stage: Stage, tally: Tally, path: str) -> None:
    case, archived = CASES[path], archived_orders().archived[::-1]

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        replay = case.run(archived, disturbance, attempts)
        replay.work()
        return replay.wrong(archived_orders().projections)

    Sweep(path, tally).once(case.calls(archived), run)


@every_case
@pytest.mark.parametrize("also", ["", "SendMessage"])
def test_persistent_fault_until_dead_lettered_and_redriven(stage: Stage, tally: Tally, path: str, also: str) -> None:
    case, archived = CASES[path], archived_orders().archived

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        replay = case.run(archived, disturbance, attempts)
        replay.work()
        disturbance.match = lambda _number, _call: False
        replay.work()
        return replay.wrong(archived_orders().projections)

    Sweep(path, tally).lasting([call for _, call in case.calls(archived)], run, also)


@every_case
def test_replay_is_repeated_at_any_call(stage: Stage, tally: Tally, path: str) -> None:
    """The repetition runs in reverse order between any two calls."""
    case, archived = CASES[path], archived_orders().archived

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        replay = case.run(archived, disturbance, attempts)
        second = [(rule, streamed, batch[::-1]) for rule, streamed, batch in replay.waiting[::-1]]

        def repeat_in_reverse() -> None:
            first, replay.waiting = replay.waiting, second
            replay.work()
            replay.waiting = first

        disturbance.act = repeat_in_reverse
        replay.work()
        return replay.wrong(archived_orders().projections)

    Sweep(path, tally).between(case.calls(archived), "twice at once", run)


@pytest.mark.parametrize("onto", ["existing rows", "empty tables"])
def test_new_events_during_a_replay_are_not_lost(stage: Stage, tally: Tally, onto: str) -> None:
    """New events of an order are delivered before any call of the replay of its earlier events."""
    later = [one for one in archived_orders().archived if one["type"] in {"ShipmentLost", "PaymentRefunded"}]
    earlier = [one for one in archived_orders().archived if one not in later]
    written = [item for item in archived_orders().tables["OrderLog"] if item["type"]["S"] in {"ShipmentLost", "PaymentRefunded"}]
    without = {**archived_orders().dropped, "OrderLog": [item for item in archived_orders().tables["OrderLog"] if item not in written]}
    if onto == "existing rows":
        first = Replay(earlier, without, Disturbance())
        first.work()
        without = tables_of(first.aws)

    def replayed_with_new_events(disturbance: Disturbance, attempts: int = 1) -> Replay:
        replay = Replay(earlier, without, disturbance, attempts)
        latest = Replay(later, {}, Disturbance()).waiting
        replay.aws.lend()

        def deliver_new_events() -> None:
            replay.aws.dynamodb.seed("OrderLog", *written)
            replay.tables = {**replay.tables, "OrderLog": archived_orders().tables["OrderLog"]}
            replay.waiting, ours = latest, replay.waiting
            replay.work()
            replay.waiting = ours

        disturbance.act = deliver_new_events
        return replay

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        replay = replayed_with_new_events(disturbance, attempts)
        replay.work()
        return replay.wrong(archived_orders().projections)

    undisturbed = replayed_with_new_events(Disturbance())
    undisturbed.work()
    Sweep(f"replayed onto {onto}", tally).between(enumerate(undisturbed.disturbance.calls), "new events delivered", run)
