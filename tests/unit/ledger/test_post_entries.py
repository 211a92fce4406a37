"""Posting: one entry per event with all its postings, or none, for any delivery of the event."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.domain import period_shards, posting_rules
from ledger.entry_store import Contradiction
from ledger.handlers.post_entries import ENTRIES, FEES, handler
from tests.conftest import TABLES, Aws
from tests.fakes.aws.dynamodb import FakeDynamoDB, answer_lost, throttled
from tests.fakes.aws.dynamodb.expressions.values import size
from tests.support import samples
from tests.support.orders import RETURNED, STATES, history

NOW = datetime(2026, 1, 15, 10, 59, 59, tzinfo=UTC)
FINISHED = {"batchItemFailures": []}
REFUNDED = [posting_rules.entry_for(one, FEES) for one in history(*STATES["return refunded"]) if one.type.startswith("Payment")]


def state(database: FakeDynamoDB) -> Any:
    return database.items("LedgerEntries")


def accounts(database: FakeDynamoDB) -> dict[str, int]:
    """Return the balances of the entries of all period shards."""
    names = {item["sheet"]["S"] for item in database.items("LedgerEntries")}
    return posting_rules.balances(entry for name in names for entry in ENTRIES.of_shard(name))["EUR"]


@pytest.mark.parametrize("name", samples.names("ledger/post_entries"))
def test_samples_have_their_documented_answers(name: str, database: FakeDynamoDB, context: Any) -> None:
    assert handler(samples.sample(name), context) == samples.expected(name)


def test_capture_is_one_item_with_all_postings_in_one_call(database: FakeDynamoDB, context: Any) -> None:
    handler(samples.sample("ledger/post_entries/captured"), context)
    assert database.calls == {"PutItem": 1}
    (entry,) = state(database)
    assert (entry["type"], entry["amount"], entry["currency"]) == ({"S": "PaymentCaptured"}, {"N": "1250"}, {"S": "EUR"})
    assert accounts(database) == {"authorizations": -1250, "holds": 1250, "clearing": 1250 - 43, "revenue": -1250, "fees": 43}
    assert database.items("LedgerBalances") == []


def test_largest_entry_costs_one_write_unit(database: FakeDynamoDB, context: Any) -> None:
    """The order id has the length of real ones."""
    order_id = "ord_" + 26 * "a"
    for one in history(*STATES["dispute lost"], order_id=order_id):
        if one.type.startswith("Payment"):
            ENTRIES.post(posting_rules.entry_for(one, posting_rules.Fees(140, {"EUR": 10**6})), NOW)
    assert max(size({"M": item}) for item in state(database)) < 1024


@pytest.mark.parametrize("again", ["authorized", "delivered-twice", "replayed"])
def test_redelivered_event_changes_nothing(again: str, database: FakeDynamoDB, context: Any) -> None:
    handler(samples.sample("ledger/post_entries/delivered-twice"), context)
    before = state(database)
    assert handler(samples.sample(f"ledger/post_entries/{again}"), context) == FINISHED
    assert state(database) == before
    assert [entry["type"]["S"] for entry in before] == ["PaymentAuthorized", "PaymentCaptured"]


def test_event_redelivered_in_another_hour_changes_nothing(database: FakeDynamoDB) -> None:
    assert ENTRIES.post(REFUNDED[0], NOW)
    before = state(database)
    assert not ENTRIES.post(REFUNDED[0], NOW + timedelta(hours=30))
    assert state(database) == before


def test_event_id_with_another_amount_is_rejected(database: FakeDynamoDB) -> None:
    ENTRIES.post(REFUNDED[0], NOW)
    before = state(database)
    changed = posting_rules.entry_for(history(*STATES["dispute lost"])[-1], FEES)
    with pytest.raises(Contradiction):
        ENTRIES.post(posting_rules.Entry(**{**_fields(changed), "event_id": REFUNDED[0].event_id}), NOW)
    assert state(database) == before


def _fields(entry: posting_rules.Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


def test_other_fees_do_not_contradict_a_posted_entry(database: FakeDynamoDB) -> None:
    captured = next(one for one in history(*STATES["paid"]) if one.type == "PaymentCaptured")
    assert ENTRIES.post(posting_rules.entry_for(captured, FEES), NOW)
    assert not ENTRIES.post(posting_rules.entry_for(captured, posting_rules.Fees(200)), NOW)


def test_poison_message_fails_alone(database: FakeDynamoDB, context: Any) -> None:
    handler(samples.sample("ledger/post_entries/poison-among-good"), context)
    assert [entry["type"]["S"] for entry in database.items("LedgerEntries")] == ["PaymentAuthorized", "PaymentCaptured"]
    assert accounts(database)["holds"] == 1250 - 2990


def test_lost_answer_is_retried_and_posts_once(aws: Aws) -> None:
    aws.dynamodb = database = FakeDynamoDB(*TABLES, attempts=2)
    aws.lend()
    lost: list[str] = []

    def lose(operation: str, _parameters: Any) -> None:
        if not lost:
            lost.append(operation)
            raise answer_lost()

    database.after = lose
    ENTRIES.post(REFUNDED[0], NOW)
    assert (lost, len(state(database))) == (["PutItem"], 1)


def test_throttled_message_is_redelivered(database: FakeDynamoDB, context: Any) -> None:
    def refuse(operation: str, _parameters: Any) -> None:
        raise throttled(operation)

    database.before = refuse
    batch = samples.sample("ledger/post_entries/authorized")
    assert handler(batch, context)["batchItemFailures"] == [{"itemIdentifier": record["messageId"]} for record in batch["Records"]]
    assert state(database) == []


def test_entries_are_read_as_posted(database: FakeDynamoDB) -> None:
    for entry in REFUNDED:
        ENTRIES.post(entry, NOW)
    assert sorted(ENTRIES.of_order(REFUNDED[0].order_id), key=lambda one: one.occurred_at) == REFUNDED
    hour = period_shards.shards_between(period_shards.first_shard(NOW), period_shards.first_shard(NOW + timedelta(hours=1)))
    assert {one.event_id for name in hour for one in ENTRIES.of_shard(name)} == {entry.event_id for entry in REFUNDED}


def test_entry_of_an_older_version_without_fees_keeps_its_fee(database: FakeDynamoDB) -> None:
    captured = next(entry for entry in REFUNDED if entry.type == "PaymentCaptured")
    ENTRIES.post(captured, NOW)
    (item,) = state(database)
    database.seed("LedgerEntries", {name: value for name, value in item.items() if name != "fees"})
    (posted,) = ENTRIES.of_order(captured.order_id)
    (fee,) = (posting.amount for posting in captured.postings if posting.account == "fees")
    assert (posted.postings, posted.fees) == (captured.postings, posting_rules.Fees(0, {"EUR": fee}))


def test_entries_are_spread_over_the_period_shards_of_an_hour(database: FakeDynamoDB) -> None:
    for number in range(100):
        [entry] = [
            posting_rules.entry_for(one, FEES)
            for one in history(*STATES["authorized"], order_id=f"ord_{number}")
            if one.source and "Auth" in one.type
        ]
        ENTRIES.post(entry, NOW)
    on = Counter(item["sheet"]["S"] for item in state(database))
    assert len(on) == period_shards.SHARDS
    assert max(on.values()) < 30
    assert accounts(database) == {"authorizations": 299_000, "holds": -299_000}


def test_log_lines_have_event_ids_and_no_personal_data(
    database: FakeDynamoDB, context: Any, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    handler(samples.sample("ledger/post_entries/poison-among-good"), context)
    posted = [line for line in logged() if line["message"] == "entry_posted"]
    assert [line["event_id"] for line in posted] == ["ord_0000000000000000000ledger1:4", "ord_0000000000000000000ledger1:8"]
    assert "ann@example.com" not in json.dumps(logged())


def test_order_has_one_entry_per_movement_of_money(database: FakeDynamoDB) -> None:
    for one in history(*RETURNED):
        if one.type.startswith("Payment"):
            ENTRIES.post(posting_rules.entry_for(one, FEES), NOW)
    assert len(state(database)) == 3
