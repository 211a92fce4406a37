"""Counting and aggregation under every fault of every call and in any event order count and rank each event once."""

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
from tests.faults.sweeps import Sweep, nothing_wrong
from tests.faults.test_races import Runner, alternate
from tests.support import sales
from tests.support.runtime import CONTEXT

PATH = "analytics"
# Of two that meet, each stops before every second call.
STRIDE = 2
POISON = "poison"
# Two minutes on either side of a month's end.
HAPPENED = [
    sales.event(1, sales.placed()),
    sales.event(2, sales.confirmed({"MUG": 2, "CUP": 1})),
    sales.event(3, sales.short(), 20),
    sales.event(4, sales.confirmed({"CUP": 2, "TEA": 1}, "JPY"), 140),
    sales.event(5, sales.rejected("out_of_stock"), 130),
    sales.event(6, sales.refunded(200), 150),
]
ORDERS: dict[str, Callable[[list[Event]], list[Event]]] = {
    "in order": list,
    "backwards, and all again later": lambda happened: [*happened[::-1], *happened],
}
every_order = pytest.mark.parametrize("order", ORDERS)


@dataclass
class Counting:
    """The stream, what counts its events, the queue behind that, and the schedule that sums up after every batch."""

    happened: list[Event]
    disturbance: Disturbance
    attempts: int = 1
    aws: Aws = field(init=False)
    dead_letters: list[str] = field(default_factory=list[str])
    _current: str = ""

    def __post_init__(self) -> None:
        """Have every call go through the disturbance."""
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
            self.sum_up()

    def stream(self, records: list[Any]) -> None:
        """Bring a batch until it is taken; of one that never is, a redrive has what Lambda's note is about sent to the queue."""
        for _ in range(ATTEMPTS):
            with suppress(Failed):
                self.invoke("AnalyticsCount", count_events.handler, {"Records": records})
                break
        else:
            self.dead_letters += [_message(record) for record in records]
        self.work_off(self.aws.sqs.sent.pop(ENVIRONMENT["RETRY_QUEUE_URL"], []))

    def work_off(self, messages: list[Any]) -> None:
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

    def sum_up(self) -> None:
        """Run the schedule once; a failure waits for the next minute."""
        with suppress(Failed):
            self.invoke("AnalyticsAggregate", aggregate.handler, {})

    def invoke(self, function: str, handler: Any, event: Any) -> Any:
        """Invoke a function.

        Raises:
            Failed: it failed, or its process died.
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
        self.work_off([json.loads(message) for message in dead_letters])
        self.sum_up()

    def wrong(self) -> list[str]:
        """Return what is wrong once everything has come to rest."""
        self.disturbance = Disturbance()
        return [*self._stuck(), *self.differences()]

    def differences(self) -> list[str]:
        """Return the differences between counts, sums and events."""
        found = [f"not summed up: {item['place']['S']}" for item in _items(self.aws) if item["period"]["S"] == "new"]
        return [*found, *_not_counted(self.aws), *_not_summed_up(self.aws)]

    def _stuck(self) -> list[str]:
        found = [f"a dead message: {message}" for message in self.dead_letters if "no_event" not in message]
        return found + ([] if len(found) < len(self.dead_letters) else ["what is no event is no dead letter"])


class Failed(Exception):
    """A function failed, or its process died."""


def _message(record: Any) -> str:
    """Return what a redrive sends for a record of the stream."""
    try:
        return json.dumps({"detail": json.loads(base64.b64decode(record["kinesis"]["data"]))})
    except ValueError:
        return json.dumps({"no_event": POISON})


def _items(aws: Aws) -> list[dict[str, Any]]:
    return aws.dynamodb.items("AnalyticsSums")


def _not_counted(aws: Aws) -> list[str]:
    """Return the differences between stored counts and events, by event id."""
    kept: dict[str, Count] = {}
    found: list[str] = []
    for minute in {item["period"]["S"] for item in _items(aws) if len(item["period"]["S"]) == counting_rules.MINUTE}:
        for one in AnalyticsStore("AnalyticsSums", aws.dynamodb.client).counted(minute):
            found += [f"{one.event_id} is counted as {one} and as {kept[one.event_id]}"] if kept.get(one.event_id, one) != one else []
            found += [f"{one.event_id} of {one.minute} is kept with {minute}"] if one.minute != minute else []
            kept[one.event_id] = one
    wanted = {one.event_id: counting_rules.count_event(one) for one in HAPPENED}
    return found if kept == wanted else [*found, f"counted {sorted(kept)}, not {sorted(wanted)}"]


def _not_summed_up(aws: Aws) -> list[str]:
    """Return how sums, units and leaderboards differ from a recount of what happened, each event once."""
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
    for one in HAPPENED:
        for period in _periods(one):
            sums.setdefault(period, Counter()).update(counting_rules.without_units(counting_rules.count_event(one).counters))
    return {period: dict(counted) for period, counted in sums.items()}


def _sold() -> dict[str, counting_rules.Units]:
    sold: dict[str, Counter[str]] = {}
    for one in HAPPENED:
        for period in _periods(one)[1:]:
            sold.setdefault(period, Counter()).update(counting_rules.count_event(one).counters)
    return {period: counting_rules.units(counted) for period, counted in sold.items()}


def _ranked() -> dict[str, list[tuple[str, int]]]:
    sold: dict[str, Counter[str]] = {}
    for one in HAPPENED:
        _, day, every = _periods(one)
        for line in one.data.lines if isinstance(one.data, OrderConfirmed) else ():
            for board in {f"{period}/{category}" for period in (day, every) for category in ("", line.category or "")}:
                sold.setdefault(board, Counter())[line.sku] += line.quantity
    return {board: sorted(units.items(), key=lambda one: (-one[1], one[0])) for board, units in sold.items()}


SUMMED, SOLD, BOARDS = _recounted(), _sold(), _ranked()
# Where sums are: with the hour of a minute, the month of a day, and that of all times with none.
_PARENTS = {*(counting_rules.parent(period) for period in SUMMED if period != "all"), "top"}


def brought(order: str, disturbance: Disturbance, attempts: int = 1) -> Counting:
    """Return where everything was brought and summed up, with what goes wrong meanwhile."""
    counting = Counting(ORDERS[order](HAPPENED), disturbance, attempts)
    counting.run()
    return counting


def recorded(order: str) -> list[Call]:
    """Return the calls of a run in which nothing goes wrong, after making sure that nothing did."""
    counting = brought(order, Disturbance())
    calls = list(counting.disturbance.calls)
    assert counting.wrong() == []
    return calls


@every_order
def test_single_fault_of_one_call(stage: Stage, tally: Tally, order: str) -> None:
    """A minute later all is as if nothing had."""

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        counting = brought(order, disturbance, attempts)
        counting.sum_up()
        return counting.wrong()

    Sweep(PATH, tally).once(enumerate(recorded(order)), run)


@every_order
def test_persistent_fault_until_retries_end(stage: Stage, tally: Tally, order: str) -> None:
    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        counting = brought(order, disturbance, attempts)
        counting.rest()
        return counting.wrong()

    Sweep(PATH, tally).lasting(recorded(order), run)


AGAIN: dict[str, Callable[[Counting], object]] = {
    "all at once again": lambda counting: counting.stream(sales.streamed(*HAPPENED)["Records"]),
    "summed up twice at once": lambda counting: counting.sum_up(),
}


@pytest.mark.parametrize("what", AGAIN)
def test_another_worker_is_there_at_any_moment(stage: Stage, tally: Tally, what: str) -> None:
    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        counting = Counting(HAPPENED, disturbance, attempts)
        disturbance.act = lambda: AGAIN[what](counting)
        counting.run()
        counting.sum_up()
        return counting.wrong()

    Sweep(PATH, tally).between(enumerate(recorded("in order")), what, run)


THIRD = len(HAPPENED) // 3
NEVER = 10**6


def test_concurrent_aggregations(stage: Stage, tally: Tally) -> None:
    """The first run stops at any call, then the second, with one more batch; both then run to their ends."""
    failures: dict[str, list[str]] = {}
    alone = _one_summed_up_and_one_counted()
    first_calls, second_calls = _calls(alone, alone.sum_up), _calls(alone, lambda: _one_more(alone))
    for first_stop in range(0, first_calls, STRIDE):
        for second_stop in (*range(0, second_calls, STRIDE), NEVER):
            counting = _one_summed_up_and_one_counted()
            second = Runner(second_stop, lambda counting=counting: _one_more(counting))
            alternate(counting, Runner(first_stop, counting.sum_up), second)
            counting.sum_up()
            tally(PATH, "two sum up in turns")
            if found := counting.differences():
                failures[f"stops before {first_stop} and {second_stop}"] = found
    nothing_wrong(failures)


def _one_summed_up_and_one_counted() -> Counting:
    counting = Counting(HAPPENED, Disturbance())
    counting.stream(sales.streamed(*HAPPENED[-THIRD:])["Records"])
    counting.sum_up()
    counting.stream(sales.streamed(*HAPPENED[:THIRD])["Records"])
    return counting


def _one_more(counting: Counting) -> None:
    counting.stream(sales.streamed(*HAPPENED[THIRD:-THIRD])["Records"])
    counting.sum_up()


def _calls(counting: Counting, act: Callable[[], object]) -> int:
    before = len(counting.disturbance.calls)
    act()
    return len(counting.disturbance.calls) - before
