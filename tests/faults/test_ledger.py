"""Posting under every fault, in any event order and with duplicates keeps the ledger balanced."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from ledger.domain import period_shards, posting_rules
from ledger.handlers.post_entries import ENTRIES, FEES, handler
from orderflow.domain import events
from orderflow.domain.events import Event
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB
from tests.fakes.aws.environment import TABLES, Aws
from tests.faults.conftest import Tally
from tests.faults.faults import Call, Disturbance, target_of
from tests.faults.paths import Stage
from tests.faults.simulation import CONTEXT
from tests.faults.sweeps import Sweep
from tests.support.orders import STATES, history

BATCH = 3
RECEIVES = 5
HISTORIES = ("rest cancelled", "return refunded", "dispute won")
ORDERS: dict[str, Callable[[list[Event]], list[Event]]] = {
    "in order": list,
    "backwards": lambda events: events[::-1],
    "each twice": lambda events: [one for one in events for _ in range(2)],
    "all again later": lambda events: [*events, *events],
}

every_history = pytest.mark.parametrize("name", HISTORIES)
every_order = pytest.mark.parametrize("order", ORDERS)


@dataclass
class Queue:
    """The ledger's queue and function: a batch is redelivered whole after a crash, failed messages alone."""

    events: list[Event]
    disturbance: Disturbance
    attempts: int = 1
    aws: Aws = field(init=False)
    waiting: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def __post_init__(self) -> None:
        """Send one message for every event."""
        self.aws = Aws(FakeDynamoDB(*TABLES, attempts=self.attempts))
        self.aws.dynamodb.before = lambda operation, given: self.disturbance.before(_call(operation, given), given)
        self.aws.dynamodb.after = lambda operation, given: self.disturbance.after(_call(operation, given), given)
        self.aws.lend()
        self.waiting = [_message(number, one) for number, one in enumerate(self.events)]

    def work(self, rounds: int = RECEIVES) -> None:
        """Deliver the queue until it is empty, at most `rounds` times."""
        for _ in range(rounds):
            batches = [self.waiting[begin : begin + BATCH] for begin in range(0, len(self.waiting), BATCH)]
            self.waiting = [message for batch in batches for message in self.deliver(batch)]

    def deliver(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Deliver a batch once, and return the messages to retry."""
        try:
            answer: Any = handler({"Records": batch}, cast("Any", CONTEXT))
        except Crash:
            return batch
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        return [message for message in batch if message["messageId"] in failed]

    def wrong(self) -> list[str]:
        """Return the differences of the ledger."""
        posted = {item["event_id"]["S"] for item in self.aws.dynamodb.items("LedgerEntries")}
        wanted = {one.event_id: posting_rules.entry_for(one, FEES) for one in self.events}
        found = [f"{len(self.waiting)} messages are still queued"] if self.waiting else []
        found += [f"posted {sorted(posted)}, not {sorted(wanted)}"] if posted != set(wanted) else []
        hours = period_shards.shards_between(
            period_shards.first_shard(NOW - timedelta(hours=1)), period_shards.first_shard(NOW + timedelta(hours=2))
        )
        entries = [entry for name in hours for entry in ENTRIES.of_shard(name)]
        sums = {currency: _not_zero(accounts) for currency, accounts in posting_rules.balances(entries).items()}
        summed = {currency: _not_zero(accounts) for currency, accounts in posting_rules.balances(wanted.values()).items()}
        found += [f"balances are {sums}, entries sum to {summed}"] if sums != summed else []
        found += [
            f"{currency} sums to {posting_rules.total(accounts)}" for currency, accounts in sums.items() if posting_rules.total(accounts)
        ]
        differing = [entry.event_id for entry in entries if entry != wanted.get(entry.event_id)]
        found += [f"{event_id} differs from the posting rules" for event_id in differing]
        return [*found, *([f"{len(entries)} entries are in period shards, not {len(wanted)}"] if len(entries) != len(wanted) else [])]


NOW = datetime.now(UTC)


def _call(operation: str, given: Any) -> Call:
    return Call("LedgerPost", "dynamodb", operation, target_of(given))


def _not_zero(accounts: Any) -> dict[str, int]:
    return {account: sum_ for account, sum_ in accounts.items() if sum_}


def _message(number: int, event: Event) -> dict[str, Any]:
    body = json.dumps({"detail-type": event.type, "detail": json.loads(events.encode(event))})
    return {"messageId": f"m{number}", "body": body, "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"}


def moving(name: str, order: str) -> list[Event]:
    """Return the payment events of a history in their order of delivery."""
    return ORDERS[order]([one for one in history(*STATES[name]) if one.type.startswith("Payment") or one.type == "DisputeClosed"])


def recorded(events: list[Event]) -> list[Call]:
    """Return the calls of a run without faults, after checking its result."""
    queue = Queue(events, Disturbance())
    queue.work()
    calls = list(queue.disturbance.calls)
    assert queue.wrong() == []
    return calls


@every_history
@every_order
def test_single_fault_of_one_call(stage: Stage, tally: Tally, name: str, order: str) -> None:
    events = moving(name, order)

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        queue = Queue(events, disturbance, attempts)
        queue.work()
        return queue.wrong()

    Sweep("the ledger", tally).once(enumerate(recorded(events)), run)


@every_history
@every_order
def test_persistent_fault_until_dead_lettered_and_redriven(stage: Stage, tally: Tally, name: str, order: str) -> None:
    events = moving(name, order)

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        queue = Queue(events, disturbance, attempts)
        queue.work()
        disturbance.match = lambda _number, _call: False
        queue.work()
        return queue.wrong()

    Sweep("the ledger", tally).lasting(recorded(events), run)


@every_history
def test_batch_is_redelivered_at_any_call(stage: Stage, tally: Tally, name: str) -> None:
    """Another worker gets the same batch between any two calls of the first."""
    events = moving(name, "in order")

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        queue = Queue(events, disturbance, attempts)
        every = list(queue.waiting)
        disturbance.act = lambda: queue.deliver(every)
        queue.work()
        return queue.wrong()

    Sweep("the ledger", tally).between(enumerate(recorded(events)), "batch twice at once", run)
