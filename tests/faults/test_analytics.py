"""Analytics count and rank each event once under every fault of every call and in any event order."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from analytics.domain import counting_rules
from analytics.domain.counting_rules import Count
from analytics.handlers import aggregate, count_events
from analytics.store import AnalyticsStore
from orderflow.domain import events
from orderflow.domain.events import Event, OrderConfirmed
from tests.conftest import ENVIRONMENT
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB
from tests.fakes.aws.environment import TABLES, Aws
from tests.fakes.aws.sqs import FakeSqs
from tests.faults.conftest import Tally
from tests.faults.faults import Call, Disturbance, target_of
from tests.faults.paths import Stage
from tests.faults.simulation import ATTEMPTS
from tests.faults.sweeps import Sweep, assert_no_failures
from tests.faults.test_races import Runner, alternate
from tests.support import sales
from tests.support.runtime import CONTEXT

PATH = "analytics"
# Each of two concurrent runs pauses before every second call.
STRIDE = 2
POISON = "poison"
# Two minutes on each side of a month's end.
EVENTS = [
    sales.event(1, sales.placed()),
    sales.event(2, sales.confirmed({"MUG": 2, "CUP": 1})),
    sales.event(3, sales.short(), 20),
    sales.event(4, sales.confirmed({"CUP": 2, "TEA": 1}, "JPY"), 140),
    sales.event(5, sales.rejected("out_of_stock"), 130),
    sales.event(6, sales.refunded(200), 150),
]
ORDERS: dict[str, Callable[[list[Event]], list[Event]]] = {
    "in order": list,
    "reversed, and repeated later": lambda happened: [*happened[::-1], *happened],
}
every_order = pytest.mark.parametrize("order", ORDERS)


@dataclass
class Counting:
    """The stream, the counting consumer with its queue, and the schedule that aggregates after every batch."""

    happened: list[Event]
    disturbance: Disturbance
    attempts: int = 1
    aws: Aws = field(init=False)
    dead_letters: list[str] = field(default_factory=list[str])
    _current: str = ""

    def __post_init__(self) -> None:
        """Inject the disturbance into every call."""
        self.aws = Aws(FakeDynamoDB(*TABLES, attempts=self.attempts), sqs=FakeSqs(self.attempts))
        for name, service in {"dynamodb": self.aws.dynamodb, "sqs": self.aws.sqs}.items():
            service.before, service.after = self._hooks(name)
        self.aws.lend()

    def _hooks(self, service: str) -> tuple[Any, Any]:
        def call(operation: str, given: Any) -> Call:
            return Call(self._current, service, operation, target_of(given))

        return (
            lambda operation, given: self.disturbance.before(call(operation, given), given),
            lambda operation, given: self.disturbance.after(call(operation, given), given),
        )

    def run(self) -> None:
        """Deliver all events and a malformed message in two batches."""
        records = [sales.record(events.encode(one)) for one in self.happened]
        records.insert(1, sales.record(POISON.encode()))
        half = len(records) // 2
        for batch in (records[:half], records[half:]):
            self.stream(batch)
            self.aggregate_once()

    def stream(self, records: list[Any]) -> None:
        """Deliver a batch until it succeeds; a failed batch is redriven to the queue."""
        for _ in range(ATTEMPTS):
            with suppress(Failed):
                self.invoke("AnalyticsCount", count_events.handler, {"Records": records})
                break
        else:
            self.dead_letters += [_message(record) for record in records]
        self.deliver_queue(self.aws.sqs.sent.pop(ENVIRONMENT["RETRY_QUEUE_URL"], []))

    def deliver_queue(self, messages: list[Any]) -> None:
        """Deliver the queue's messages in one batch until they succeed or reach the retry limit."""
        waiting = [json.dumps(message) for message in messages]
        for receive in range(1, ATTEMPTS + 1):
            waiting = self._taken(waiting, receive)
        self.dead_letters += waiting

    def _taken(self, waiting: list[str], receive: int) -> list[str]:
        """Deliver messages once, and return those to retry."""
        if not waiting:
            return []
        known = {"eventSource": "aws:sqs", "attributes": {"ApproximateReceiveCount": str(receive)}}
        batch = [{**known, "messageId": str(number), "body": body} for number, body in enumerate(waiting)]
        try:
            answer = self.invoke("AnalyticsCount", count_events.handler, {"Records": batch})
        except Failed:
            return waiting
        return [waiting[int(item["itemIdentifier"])] for item in answer["batchItemFailures"]]

    def aggregate_once(self) -> None:
        """Run the schedule once; the next minute retries a failure."""
        with suppress(Failed):
            self.invoke("AnalyticsAggregate", aggregate.handler, {})

    def invoke(self, function: str, handler: Any, event: Any) -> Any:
        """Invoke a function.

        Raises:
            Failed: the function failed or crashed.
        """
        before, self._current = self._current, function
        try:
            return handler(event, CONTEXT)
        except (Crash, Exception) as error:
            raise Failed from error
        finally:
            self._current = before

    def rest(self) -> None:
        """Remove all faults, redrive the dead letters, and run the schedule once."""
        self.disturbance.match = lambda _number, _call: False
        dead_letters, self.dead_letters = self.dead_letters, []
        self.deliver_queue([json.loads(message) for message in dead_letters])
        self.aggregate_once()

    def wrong(self) -> list[str]:
        """Return the differences after all faults are removed and all queues are empty."""
        self.disturbance = Disturbance()
        return [*self._stuck(), *self.differences()]

    def differences(self) -> list[str]:
        """Return the differences between counts, sums and events."""
        found = [f"not aggregated: {item['place']['S']}" for item in _items(self.aws) if item["period"]["S"] == "new"]
        return [*found, *_count_differences(self.aws), *_total_differences(self.aws)]

    def _stuck(self) -> list[str]:
        found = [f"dead letter: {message}" for message in self.dead_letters if "no_event" not in message]
        return found + ([] if len(found) < len(self.dead_letters) else ["the malformed message was not dead-lettered"])


class Failed(Exception):
    """A function failed or crashed."""


def _message(record: Any) -> str:
    """Return what a redrive sends for a record of the stream."""
    try:
        return json.dumps({"detail": json.loads(base64.b64decode(record["kinesis"]["data"]))})
    except ValueError:
        return json.dumps({"no_event": POISON})


def _items(aws: Aws) -> list[dict[str, Any]]:
    return aws.dynamodb.items("AnalyticsSums")


def _count_differences(aws: Aws) -> list[str]:
    """Return the differences between stored counts and events, by event id."""
    stored: dict[str, Count] = {}
    found: list[str] = []
    for minute in {item["period"]["S"] for item in _items(aws) if len(item["period"]["S"]) == counting_rules.MINUTE}:
        for one in AnalyticsStore("AnalyticsSums", aws.dynamodb.client).counted(minute):
            found += [f"{one.event_id} is counted as {one} and as {stored[one.event_id]}"] if stored.get(one.event_id, one) != one else []
            found += [f"{one.event_id} of {one.minute} is stored under {minute}"] if one.minute != minute else []
            stored[one.event_id] = one
    wanted = {one.event_id: counting_rules.count_event(one) for one in EVENTS}
    return found if stored == wanted else [*found, f"counted {sorted(stored)}, not {sorted(wanted)}"]


def _total_differences(aws: Aws) -> list[str]:
    """Return the differences of totals, units and leaderboards from a recount of the events, each once."""
    store = AnalyticsStore("AnalyticsSums", aws.dynamodb.client)
    sold = {period: {sku: units for one in store.ranges(period) for sku, units in one.units.items()} for period in SOLD}
    sums = {item["place"]["S"]: store.total(item["place"]["S"]).counters for item in _items(aws) if item["period"]["S"] in _PARENTS}
    boards = {
        item["place"]["S"]: [(one.sku, one.units) for one in store.leaderboard(*item["place"]["S"].split("/"))]
        for item in _items(aws)
        if item["period"]["S"] == "board"
    }
    compared = (("sums", sums, SUMMED), ("units", sold, SOLD), ("boards", boards, BOARDS))
    return [f"{what}: {there}, not {wanted}" for what, there, wanted in compared if there != wanted]


def _periods(event: Event) -> list[str]:
    minute = f"{event.occurred_at:%Y-%m-%dT%H:%M}"
    return [minute, minute[:10], "all"]


def _recounted() -> dict[str, dict[str, int]]:
    sums: dict[str, Counter[str]] = {}
    for one in EVENTS:
        for period in _periods(one):
            sums.setdefault(period, Counter()).update(counting_rules.without_units(counting_rules.count_event(one).counters))
    return {period: dict(counted) for period, counted in sums.items()}


def _sold() -> dict[str, counting_rules.Units]:
    sold: dict[str, Counter[str]] = {}
    for one in EVENTS:
        for period in _periods(one)[1:]:
            sold.setdefault(period, Counter()).update(counting_rules.count_event(one).counters)
    return {period: counting_rules.units(counted) for period, counted in sold.items()}


def _ranked() -> dict[str, list[tuple[str, int]]]:
    sold: dict[str, Counter[str]] = {}
    for one in EVENTS:
        _, day, every = _periods(one)
        for line in one.data.lines if isinstance(one.data, OrderConfirmed) else ():
            for board in {f"{period}/{category}" for period in (day, every) for category in ("", line.category or "")}:
                sold.setdefault(board, Counter())[line.sku] += line.quantity
    return {board: sorted(units.items(), key=lambda one: (-one[1], one[0])) for board, units in sold.items()}


SUMMED, SOLD, BOARDS = _recounted(), _sold(), _ranked()
# The partitions of totals: the hour of a minute, the month of a day, and one for all time.
_PARENTS = {*(counting_rules.parent(period) for period in SUMMED if period != "all"), "top"}


def run_to_rest(order: str, disturbance: Disturbance, attempts: int = 1) -> Counting:
    """Deliver and aggregate all events under the disturbance; return the run."""
    counting = Counting(ORDERS[order](EVENTS), disturbance, attempts)
    counting.run()
    return counting


def recorded(order: str) -> list[Call]:
    """Return the calls of a run without faults, after checking its result."""
    counting = run_to_rest(order, Disturbance())
    calls = list(counting.disturbance.calls)
    assert counting.wrong() == []
    return calls


@every_order
def test_single_fault_of_one_call(stage: Stage, tally: Tally, order: str) -> None:
    """The next minute's run repairs the result."""

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        counting = run_to_rest(order, disturbance, attempts)
        counting.aggregate_once()
        return counting.wrong()

    Sweep(PATH, tally).once(enumerate(recorded(order)), run)


@every_order
def test_persistent_fault_until_retries_end(stage: Stage, tally: Tally, order: str) -> None:
    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        counting = run_to_rest(order, disturbance, attempts)
        counting.rest()
        return counting.wrong()

    Sweep(PATH, tally).lasting(recorded(order), run)


AGAIN: dict[str, Callable[[Counting], object]] = {
    "all at once again": lambda counting: counting.stream(sales.streamed(*EVENTS)["Records"]),
    "two aggregations at once": lambda counting: counting.aggregate_once(),
}


@pytest.mark.parametrize("what", AGAIN)
def test_concurrent_worker_at_any_call(stage: Stage, tally: Tally, what: str) -> None:
    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        counting = Counting(EVENTS, disturbance, attempts)
        disturbance.act = lambda: AGAIN[what](counting)
        counting.run()
        counting.aggregate_once()
        return counting.wrong()

    Sweep(PATH, tally).between(enumerate(recorded("in order")), what, run)


THIRD = len(EVENTS) // 3
NEVER = 10**6


def test_concurrent_aggregations(stage: Stage, tally: Tally) -> None:
    """The first run stops at any call, then the second, with one more batch; both then run to their ends."""
    failures: dict[str, list[str]] = {}
    alone = _aggregated_and_counted()
    first_calls, second_calls = _calls(alone, alone.aggregate_once), _calls(alone, lambda: _one_more(alone))
    for first_stop in range(0, first_calls, STRIDE):
        for second_stop in (*range(0, second_calls, STRIDE), NEVER):
            counting = _aggregated_and_counted()
            second = Runner(second_stop, lambda counting=counting: _one_more(counting))
            alternate(counting, Runner(first_stop, counting.aggregate_once), second)
            counting.aggregate_once()
            tally(PATH, "two interleaved aggregations")
            if found := counting.differences():
                failures[f"stops before {first_stop} and {second_stop}"] = found
    assert_no_failures(failures)


def _aggregated_and_counted() -> Counting:
    counting = Counting(EVENTS, Disturbance())
    counting.stream(sales.streamed(*EVENTS[-THIRD:])["Records"])
    counting.aggregate_once()
    counting.stream(sales.streamed(*EVENTS[:THIRD])["Records"])
    return counting


def _one_more(counting: Counting) -> None:
    counting.stream(sales.streamed(*EVENTS[THIRD:-THIRD])["Records"])
    counting.aggregate_once()


def _calls(counting: Counting, act: Callable[[], object]) -> int:
    before = len(counting.disturbance.calls)
    act()
    return len(counting.disturbance.calls) - before
