"""Posting: one entry per event and what it adds to the balances, together or not at all, however the event is delivered."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger import books, rules, sheets
from ledger.books import Contradiction, added
from ledger.post import BOOKS, FEES, handler
from orderflow.log import Contention
from tests.conftest import Aws
from tests.support import samples
from tests.support.dynamodb import FakeDynamoDB, conflict
from tests.support.orders import RETURNED, STATES, history

NOW = datetime(2026, 1, 15, 10, 59, 59, tzinfo=UTC)
FINISHED = {"batchItemFailures": []}
ENTRIES = [rules.entry(one, FEES) for one in history(*STATES["return refunded"]) if one.type.startswith("Payment")]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books.time, "sleep", lambda _: None)


@pytest.fixture
def database(aws: Aws) -> FakeDynamoDB:
    return aws.dynamodb


def state(database: FakeDynamoDB) -> Any:
    return database.items("LedgerEntries"), database.items("LedgerBalances")


def whole(database: FakeDynamoDB) -> dict[str, books.Balances]:
    return added(BOOKS.balances(name) for name in {row["sheet"]["S"] for row in database.items("LedgerBalances")})


@pytest.mark.parametrize("name", samples.names("ledger/post"))
def test_the_samples_have_the_answers_that_stand_beside_them(name: str, database: FakeDynamoDB, context: Any) -> None:
    assert handler(samples.sample(name), context) == samples.expected(name)


def test_a_capture_is_an_entry_and_a_row_of_balances_in_one_call(database: FakeDynamoDB, context: Any) -> None:
    handler(samples.sample("ledger/post/captured"), context)
    assert database.calls == {"TransactWriteItems": 1}
    ((entry,), (row,)) = state(database)
    assert (entry["type"], entry["amount"], entry["currency"]) == ({"S": "PaymentCaptured"}, {"N": "1250"}, {"S": "EUR"})
    accounts = {account: int(row[account]["N"]) for account in rules.ACCOUNTS if account in row}
    assert accounts == {"authorizations": -1250, "holds": 1250, "clearing": 1250 - 43, "revenue": -1250, "fees": 43}
    assert (row["sheet"], row["entries"]) == (entry["sheet"], {"N": "1"})


@pytest.mark.parametrize("again", ["authorized", "delivered-twice", "replayed"])
def test_an_event_that_comes_again_changes_nothing(again: str, database: FakeDynamoDB, context: Any) -> None:
    handler(samples.sample("ledger/post/delivered-twice"), context)
    before = state(database)
    assert handler(samples.sample(f"ledger/post/{again}"), context) == FINISHED
    assert state(database) == before
    assert [entry["type"]["S"] for entry in before[0]] == ["PaymentAuthorized", "PaymentCaptured"]


def test_an_event_that_comes_again_in_another_hour_changes_nothing(database: FakeDynamoDB) -> None:
    assert BOOKS.post(ENTRIES[0], NOW)
    before = state(database)
    assert not BOOKS.post(ENTRIES[0], NOW + timedelta(hours=30))
    assert state(database) == before


def test_an_event_id_that_comes_with_another_amount_is_refused(database: FakeDynamoDB) -> None:
    BOOKS.post(ENTRIES[0], NOW)
    before = state(database)
    forged = rules.entry(history(*STATES["dispute lost"])[-1], FEES)
    with pytest.raises(Contradiction):
        BOOKS.post(rules.Entry(**{**_fields(forged), "event_id": ENTRIES[0].event_id}), NOW)
    assert state(database) == before


def _fields(entry: rules.Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


def test_other_fees_do_not_make_an_event_another_one(database: FakeDynamoDB) -> None:
    captured = next(one for one in history(*STATES["paid"]) if one.type == "PaymentCaptured")
    assert BOOKS.post(rules.entry(captured, FEES), NOW)
    assert not BOOKS.post(rules.entry(captured, rules.Fees(200)), NOW)


def test_poison_fails_alone_and_its_neighbours_are_posted(database: FakeDynamoDB, context: Any) -> None:
    handler(samples.sample("ledger/post/poison-among-good"), context)
    assert [entry["type"]["S"] for entry in database.items("LedgerEntries")] == ["PaymentAuthorized", "PaymentCaptured"]
    assert whole(database)["EUR"].accounts["holds"] == 1250 - 2990


def test_a_transaction_that_meets_another_is_tried_again(database: FakeDynamoDB) -> None:
    met: list[str] = []

    def meet(operation: str, parameters: Any) -> None:
        if len(met) < 3:
            met.append(operation)
            raise conflict(parameters)

    database.before = meet
    assert BOOKS.post(ENTRIES[0], NOW)
    assert len(database.items("LedgerEntries")) == 1


def test_one_that_keeps_meeting_others_comes_back(database: FakeDynamoDB, context: Any) -> None:
    def meet(_operation: str, parameters: Any) -> None:
        raise conflict(parameters)

    database.before = meet
    with pytest.raises(Contention):
        BOOKS.post(ENTRIES[0], NOW)
    batch = samples.sample("ledger/post/authorized")
    assert handler(batch, context)["batchItemFailures"] == [{"itemIdentifier": record["messageId"]} for record in batch["Records"]]
    assert state(database) == ([], [])


def test_entries_are_read_as_they_were_posted(database: FakeDynamoDB) -> None:
    for entry in ENTRIES:
        BOOKS.post(entry, NOW)
    assert sorted(BOOKS.of_order(ENTRIES[0].order_id), key=lambda one: one.occurred_at) == ENTRIES
    hour = sheets.between(sheets.first(NOW), sheets.first(NOW + timedelta(hours=1)))
    assert {one.event_id for name in hour for one in BOOKS.of_sheet(name)} == {entry.event_id for entry in ENTRIES}


def test_many_events_are_spread_over_the_sheets_of_their_hour(database: FakeDynamoDB) -> None:
    for number in range(100):
        [entry] = [
            rules.entry(one, FEES) for one in history(*STATES["authorized"], order_id=f"ord_{number}") if one.source and "Auth" in one.type
        ]
        BOOKS.post(entry, NOW)
    rows = database.items("LedgerBalances")
    assert len(rows) == sheets.SHEETS
    assert max(int(row["entries"]["N"]) for row in rows) < 30
    assert whole(database)["EUR"] == books.Balances({"authorizations": 299_000, "holds": -299_000}, 100)


def test_every_line_has_the_ids_of_its_event_and_nothing_of_the_customer(
    database: FakeDynamoDB, context: Any, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    handler(samples.sample("ledger/post/poison-among-good"), context)
    posted = [line for line in logged() if line["message"] == "posted"]
    assert [line["event_id"] for line in posted] == ["ord_0000000000000000000ledger1:4", "ord_0000000000000000000ledger1:8"]
    assert "ann@example.com" not in json.dumps(logged())


def test_the_whole_life_of_an_order_is_one_entry_for_each_movement(database: FakeDynamoDB) -> None:
    for one in history(*RETURNED):
        if one.type.startswith("Payment"):
            BOOKS.post(rules.entry(one, FEES), NOW)
    assert whole(database)["EUR"].entries == 3
