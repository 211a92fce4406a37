"""Posting: one entry per event with all its postings, or none, however the event is delivered."""

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
PAID_BACK = [posting_rules.entry_for(one, FEES) for one in history(*STATES["return refunded"]) if one.type.startswith("Payment")]


@pytest.fixture
def database(aws: Aws) -> FakeDynamoDB:
    return aws.dynamodb


def state(database: FakeDynamoDB) -> Any:
    return database.items("LedgerEntries")


def accounts(database: FakeDynamoDB) -> dict[str, int]:
    """Return what the entries on all sheets come to."""
    names = {item["sheet"]["S"] for item in database.items("LedgerEntries")}
    return posting_rules.balances(entry for name in names for entry in ENTRIES.of_shard(name))["EUR"]


@pytest.mark.parametrize("name", samples.names("ledger/post_entries"))
def test_the_samples_have_the_answers_that_stand_beside_them(name: str, database: FakeDynamoDB, context: Any) -> None:
    assert handler(samples.sample(name), context) == samples.expected(name)


def test_a_capture_is_one_item_with_all_its_postings_in_one_call(database: FakeDynamoDB, context: Any) -> None:
    handler(samples.sample("ledger/post_entries/captured"), context)
    assert database.calls == {"PutItem": 1}
    (entry,) = state(database)
    assert (entry["type"], entry["amount"], entry["currency"]) == ({"S": "PaymentCaptured"}, {"N": "1250"}, {"S": "EUR"})
    assert accounts(database) == {"authorizations": -1250, "holds": 1250, "clearing": 1250 - 43, "revenue": -1250, "fees": 43}
    assert database.items("LedgerBalances") == []


def test_an_entry_with_every_posting_is_one_write_unit(database: FakeDynamoDB, context: Any) -> None:
    """Ids of the length that orders have."""
    order_id = "ord_" + 26 * "a"
    for one in history(*STATES["dispute lost"], order_id=order_id):
        if one.type.startswith("Payment"):
            ENTRIES.post(posting_rules.entry_for(one, posting_rules.Fees(140, {"EUR": 10**6})), NOW)
    assert max(size({"M": item}) for item in state(database)) < 1024


@pytest.mark.parametrize("again", ["authorized", "delivered-twice", "replayed"])
def test_an_event_that_comes_again_changes_nothing(again: str, database: FakeDynamoDB, context: Any) -> None:
    handler(samples.sample("ledger/post_entries/delivered-twice"), context)
    before = state(database)
    assert handler(samples.sample(f"ledger/post_entries/{again}"), context) == FINISHED
    assert state(database) == before
    assert [entry["type"]["S"] for entry in before] == ["PaymentAuthorized", "PaymentCaptured"]


def test_an_event_that_comes_again_in_another_hour_changes_nothing(database: FakeDynamoDB) -> None:
    assert ENTRIES.post(PAID_BACK[0], NOW)
    before = state(database)
    assert not ENTRIES.post(PAID_BACK[0], NOW + timedelta(hours=30))
    assert state(database) == before


def test_an_event_id_that_comes_with_another_amount_is_refused(database: FakeDynamoDB) -> None:
    ENTRIES.post(PAID_BACK[0], NOW)
    before = state(database)
    forged = posting_rules.entry_for(history(*STATES["dispute lost"])[-1], FEES)
    with pytest.raises(Contradiction):
        ENTRIES.post(posting_rules.Entry(**{**_fields(forged), "event_id": PAID_BACK[0].event_id}), NOW)
    assert state(database) == before


def _fields(entry: posting_rules.Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


def test_other_fees_do_not_make_an_event_another_one(database: FakeDynamoDB) -> None:
    captured = next(one for one in history(*STATES["paid"]) if one.type == "PaymentCaptured")
    assert ENTRIES.post(posting_rules.entry_for(captured, FEES), NOW)
    assert not ENTRIES.post(posting_rules.entry_for(captured, posting_rules.Fees(200)), NOW)


def test_poison_fails_alone_and_its_neighbours_are_posted(database: FakeDynamoDB, context: Any) -> None:
    handler(samples.sample("ledger/post_entries/poison-among-good"), context)
    assert [entry["type"]["S"] for entry in database.items("LedgerEntries")] == ["PaymentAuthorized", "PaymentCaptured"]
    assert accounts(database)["holds"] == 1250 - 2990


def test_an_answer_that_is_lost_is_asked_for_again_and_posts_once(aws: Aws) -> None:
    aws.dynamodb = database = FakeDynamoDB(*TABLES, attempts=2)
    aws.lend()
    lost: list[str] = []

    def lose(operation: str, _parameters: Any) -> None:
        if not lost:
            lost.append(operation)
            raise answer_lost()

    database.after = lose
    ENTRIES.post(PAID_BACK[0], NOW)
    assert (lost, len(state(database))) == (["PutItem"], 1)


def test_what_the_table_does_not_take_comes_back(database: FakeDynamoDB, context: Any) -> None:
    def refuse(operation: str, _parameters: Any) -> None:
        raise throttled(operation)

    database.before = refuse
    batch = samples.sample("ledger/post_entries/authorized")
    assert handler(batch, context)["batchItemFailures"] == [{"itemIdentifier": record["messageId"]} for record in batch["Records"]]
    assert state(database) == []


def test_entries_are_read_as_they_were_posted(database: FakeDynamoDB) -> None:
    for entry in PAID_BACK:
        ENTRIES.post(entry, NOW)
    assert sorted(ENTRIES.of_order(PAID_BACK[0].order_id), key=lambda one: one.occurred_at) == PAID_BACK
    hour = period_shards.shards_between(period_shards.first_shard(NOW), period_shards.first_shard(NOW + timedelta(hours=1)))
    assert {one.event_id for name in hour for one in ENTRIES.of_shard(name)} == {entry.event_id for entry in PAID_BACK}


def test_an_entry_from_before_fees_stood_on_it_is_taken_at_its_word(database: FakeDynamoDB) -> None:
    captured = next(entry for entry in PAID_BACK if entry.type == "PaymentCaptured")
    ENTRIES.post(captured, NOW)
    (item,) = state(database)
    database.seed("LedgerEntries", {name: value for name, value in item.items() if name != "fees"})
    (there,) = ENTRIES.of_order(captured.order_id)
    (fee,) = (posting.amount for posting in captured.postings if posting.account == "fees")
    assert (there.postings, there.fees) == (captured.postings, posting_rules.Fees(0, {"EUR": fee}))


def test_many_events_are_spread_over_the_sheets_of_their_hour(database: FakeDynamoDB) -> None:
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


def test_every_line_has_the_ids_of_its_event_and_nothing_of_the_customer(
    database: FakeDynamoDB, context: Any, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    handler(samples.sample("ledger/post_entries/poison-among-good"), context)
    posted = [line for line in logged() if line["message"] == "posted"]
    assert [line["event_id"] for line in posted] == ["ord_0000000000000000000ledger1:4", "ord_0000000000000000000ledger1:8"]
    assert "ann@example.com" not in json.dumps(logged())


def test_the_whole_life_of_an_order_is_one_entry_for_each_movement(database: FakeDynamoDB) -> None:
    for one in history(*RETURNED):
        if one.type.startswith("Payment"):
            ENTRIES.post(posting_rules.entry_for(one, FEES), NOW)
    assert len(state(database)) == 3
