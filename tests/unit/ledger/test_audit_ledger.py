"""The ledger audit: no finding in a correct ledger, every kind of difference is found, and no hour is read twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from devtools.bench import long_orders
from ledger.audit import COMPLETE_AFTER, WINDOW, AuditReport, LedgerAudit
from ledger.domain import period_shards, posting_rules
from ledger.domain.events import Difference
from ledger.handlers.audit_ledger import BALANCES, ENTRIES, LOG
from orderflow.aws.order_log import OrderLog
from orderflow.domain.events import Event, encode
from tests.conftest import TABLES, Aws
from tests.fakes.aws.dynamodb import FakeDynamoDB
from tests.support.audits import FEES, HOUR_END, POSTED, add_order, audited, audited_with_open, falsify, nonzero, remove
from tests.support.orders import POSTED_EVENTS, STATES

LATER = HOUR_END + timedelta(hours=1)


def test_correct_ledger_has_no_difference_and_is_closed(database: FakeDynamoDB) -> None:
    add_order(database, "return refunded", "ord_1")
    add_order(database, "dispute lost", "ord_2")
    before = audited_with_open(POSTED)[1]
    report, reported, balances = audited()
    assert (report.differences, reported) == ([], [])
    assert (report.entries, report.until) == (9, datetime(2026, 1, 15, 11, tzinfo=UTC))
    assert balances == before == BALANCES.closed()
    assert posting_rules.total(balances["EUR"].accounts) == 0


def test_hour_is_audited_once_it_is_complete(database: FakeDynamoDB) -> None:
    add_order(database, "paid", "ord_1")
    too_early, _, balances = audited(HOUR_END - timedelta(seconds=1))
    assert (too_early.entries, balances) == (0, {})
    assert audited_with_open(HOUR_END - timedelta(seconds=1))[1]["EUR"].entries == 3
    assert BALANCES.closed() == {}
    assert audited(HOUR_END)[0].entries == 3


def test_closed_hours_are_not_read_again(database: FakeDynamoDB) -> None:
    add_order(database, "paid", "ord_1")
    audited()
    add_order(database, "authorized", "ord_2", posted_at=HOUR_END)
    again, _, balances = audited(HOUR_END)
    assert (again.period_shards, again.entries, balances["EUR"].entries) == (0, 0, 3)
    assert audited_with_open(HOUR_END)[1]["EUR"].entries == 4
    next_one, reported, balances = audited(LATER)
    assert (next_one.period_shards, next_one.entries, reported) == (period_shards.SHARDS, 1, [])
    assert balances["EUR"].entries == 4


def test_audit_out_of_time_continues_in_the_next_run(database: FakeDynamoDB) -> None:
    for number in range(20):
        add_order(database, "authorized", f"ord_{number}")
    runs = 0
    while (next_shard := BALANCES.next_shard()) is None or next_shard < period_shards.first_shard(HOUR_END):
        steps = iter([True, True, True])
        LedgerAudit(ENTRIES, BALANCES, LOG, lambda _: None).audit(HOUR_END, has_time=lambda steps=steps: next(steps, False))
        runs += 1
    assert runs > 60
    assert BALANCES.closed()["EUR"].entries == 20


def test_concurrent_audits_close_once(database: FakeDynamoDB) -> None:
    add_order(database, "paid", "ord_1")

    def concurrent_audit(operation: str, _parameters: Any) -> None:
        if operation == "TransactWriteItems":
            database.before = None
            audited()

    database.before = concurrent_audit
    audited()
    assert BALANCES.closed()["EUR"].entries == 3
    assert audited()[2]["EUR"].entries == 3


def test_balances_are_consistent_during_a_concurrent_audit(database: FakeDynamoDB) -> None:
    add_order(database, "paid", "ord_1")
    add_order(database, "paid", "ord_2", posted_at=HOUR_END)

    def concurrent_audit(operation: str, given: Any) -> None:
        if operation == "Query" and given["TableName"] == "LedgerBalances":
            database.before = None
            audited(LATER)

    report = AuditReport(until=HOUR_END)
    database.before = concurrent_audit
    assert LedgerAudit(ENTRIES, BALANCES, LOG, lambda _: None).include_open(report, LATER)["EUR"].entries == 6
    assert BALANCES.closed()["EUR"].entries == 6


def test_entry_that_breaks_the_posting_rules_is_reported_by_account(database: FakeDynamoDB) -> None:
    add_order(database, "paid", "ord_1")
    captured = next(item["event_id"]["S"] for item in database.items("LedgerEntries") if item["type"]["S"] == "PaymentCaptured")
    falsify(database, captured, fees=100, clearing=-100)
    report, reported, _ = audited()
    assert reported == report.differences
    assert {(one.kind, one.place, one.account, one.found - one.expected) for one in reported} == {
        ("event", captured, "fees", 100),
        ("event", captured, "clearing", -100),
    }


def test_changed_entry_of_an_open_hour_is_found_on_request(database: FakeDynamoDB) -> None:
    add_order(database, "authorized", "ord_1")
    falsify(database, "ord_1:4", holds=-1, authorizations=1)
    found = audited_with_open(POSTED)[0].differences
    assert [(one.kind, one.account, one.found - one.expected) for one in found] == [("event", "authorizations", 1), ("event", "holds", -1)]
    assert not audited(POSTED)[0].entries


@pytest.mark.parametrize(("changed", "found"), [({"amount": {"N": "2989"}}, 2989), ({"currency": {"S": "USD"}}, 0)])
def test_entry_with_another_amount_than_its_event_is_found(database: FakeDynamoDB, changed: Any, found: int) -> None:
    add_order(database, "authorized", "ord_1")
    database.seed("LedgerEntries", database.items("LedgerEntries")[0] | changed)
    assert audited()[1] == [Difference("event", "ord_1:4", "EUR", 2990, found)]


def test_closed_balances_that_do_not_sum_to_zero_are_found(database: FakeDynamoDB) -> None:
    add_order(database, "authorized", "ord_1")
    audited()
    row = next(row for row in database.items("LedgerBalances") if row["sheet"]["S"] == "carried")
    database.seed("LedgerBalances", row | {"losses": {"N": "7"}})
    assert audited()[1] == [Difference("trial_balance", "all", "EUR", 0, 7)]


def test_unbalanced_entry_is_found(database: FakeDynamoDB) -> None:
    add_order(database, "authorized", "ord_1")
    falsify(database, "ord_1:4", authorizations=1)
    assert audited()[1] == [
        Difference("entry", "ord_1:4", "EUR", 0, 1),
        Difference("event", "ord_1:4", "EUR", 2990, 2991, "authorizations"),
        Difference("trial_balance", "all", "EUR", 0, 1),
    ]


@pytest.mark.parametrize("number", range(3))
def test_removed_entry_is_found_by_another_entry_of_its_order(database: FakeDynamoDB, number: int) -> None:
    add_order(database, "paid", "ord_1")
    missing = database.items("LedgerEntries")[number]
    remove(database, missing["event_id"]["S"])
    assert Difference("event", missing["event_id"]["S"], "EUR", int(missing["amount"]["N"]), 0) in audited()[1]


def test_missing_entry_is_found_by_a_later_entry_of_its_order(database: FakeDynamoDB) -> None:
    happened = add_order(database, "paid", "ord_1", without=["PaymentAuthorized", "PaymentCaptured"])
    authorized, captured, *_ = (one for one in happened if one.type in POSTED_EVENTS)
    assert audited()[1] == []
    ENTRIES.post(posting_rules.entry_for(captured, FEES), HOUR_END)
    assert Difference("event", authorized.event_id, "EUR", 2990, 0) in audited(LATER)[1]


@pytest.mark.parametrize(
    ("state", "missing", "expected", "found"),
    [("paid", "PaymentCaptured", 2990, 0), ("return refunded", "PaymentRefunded", 1740, 2990)],
)
def test_order_that_differs_from_its_log_is_found(database: FakeDynamoDB, state: str, missing: str, expected: int, found: int) -> None:
    add_order(database, state, "ord_1", without=[missing])
    assert set(_orders(audited()[1])) == {Difference("order", "ord_1", "EUR", expected, found)}


def test_entry_of_an_unknown_order_is_found(database: FakeDynamoDB) -> None:
    add_order(database, "paid", "ord_1")
    for item in database.items("OrderLog"):
        database.client.delete_item(TableName="OrderLog", Key={"order_id": item["order_id"], "version": item["version"]})
    assert set(_orders(audited()[1])) == {Difference("order", "ord_1", "EUR", 0, 2990)}


def test_recent_event_without_entry_is_no_difference(database: FakeDynamoDB) -> None:
    happened = add_order(database, "paid", "ord_1", without=["PaymentCaptured"])
    threshold = happened[-1].occurred_at + COMPLETE_AFTER
    assert audited_with_open(threshold - timedelta(seconds=2))[0].differences == []
    assert _orders(audited_with_open(threshold + timedelta(seconds=2))[0].differences)


def test_late_event_counts_from_the_time_it_was_recorded(database: FakeDynamoDB) -> None:
    happened = add_order(database, "paid", "ord_1", without=["PaymentCaptured"])
    recorded_at = happened[-1].occurred_at + timedelta(minutes=10)
    for row, event in zip(database.items("OrderLog"), happened, strict=True):
        if event.type == "PaymentCaptured":
            database.seed("OrderLog", row | {"event": {"S": encode(replace(event, recorded_at=recorded_at)).decode()}})
    threshold = recorded_at + COMPLETE_AFTER
    assert audited_with_open(threshold - timedelta(seconds=2))[0].differences == []
    assert _orders(audited_with_open(threshold + timedelta(seconds=2))[0].differences)


def _orders(found: list[Difference]) -> list[Difference]:
    return [one for one in found if one.kind == "order"]


def test_entries_posted_during_the_read_are_no_difference(database: FakeDynamoDB) -> None:
    add_order(database, "authorized", "ord_0")
    busy = database.items("LedgerEntries")[0]["sheet"]["S"]
    others = (order_id for order_id in map("ord_{}".format, range(1, 1000)) if period_shards.shard_of(f"{order_id}:4", POSTED) == busy)

    def post_on(_operation: str, given: Any) -> None:
        if given.get("IndexName") == "by-sheet" and given["ExpressionAttributeValues"][":value"] == {"S": busy}:
            database.after = None
            add_order(database, "authorized", next(others))
            database.after = post_on

    database.after = post_on
    report, balances = audited_with_open(POSTED)
    assert (report.differences, posting_rules.total(balances["EUR"].accounts)) == ([], 0)


class CountingLog(OrderLog):
    """An order log that counts the events read."""

    read = 0

    def history(self, order_id: str, min_version: int | None = None, *, after: int = 0) -> list[Event]:
        found = super().history(order_id, min_version, after=after)
        self.read += len(found)
        return found


class TestLongOrders:
    """An order of 1,400 events whose money moves over 100 hours."""

    HOURS = 100
    HAPPENED = long_orders.history(1400)

    def post(self, database: FakeDynamoDB, hour: int) -> None:
        """Append the events of an hour and post their entries."""
        each = len(self.HAPPENED) // self.HOURS
        for one in self.HAPPENED[hour * each : (hour + 1) * each]:
            keys = {"order_id": {"S": one.order_id}, "version": {"N": str(one.order_version)}}
            database.seed("OrderLog", {**keys, "event": {"S": encode(one).decode()}, "type": {"S": one.type}})
            if one.type in POSTED_EVENTS:
                ENTRIES.post(posting_rules.entry_for(one, FEES), POSTED + timedelta(hours=hour))

    def test_each_event_is_compared_a_bounded_number_of_times(self, database: FakeDynamoDB) -> None:
        log = CountingLog("OrderLog", database.client)
        for hour in range(self.HOURS):
            self.post(database, hour)
            now = HOUR_END + timedelta(hours=hour)
            assert LedgerAudit(ENTRIES, BALANCES, log, lambda _: None).audit(now).differences == []
        assert log.read <= self.HOURS * 3 * WINDOW
        assert posting_rules.total(BALANCES.closed()["EUR"].accounts) == 0

    @pytest.mark.parametrize("ago", [1, 4])
    def test_missing_entry_is_found_by_a_later_entry_in_the_window(self, database: FakeDynamoDB, ago: int) -> None:
        for hour in range(60):
            self.post(database, hour)
        audited(HOUR_END + timedelta(hours=59))
        missing = next(one for one in self.HAPPENED[(60 - ago) * 14 :] if one.type in POSTED_EVENTS)
        remove(database, missing.event_id)
        self.post(database, 60)
        # Excludes the recheck a day later, which finds the entry by the balances.
        differences = [one for one in audited(HOUR_END + timedelta(hours=60))[1] if one.kind == "event"]
        assert [one.place for one in differences] == [missing.event_id]

    def test_order_on_several_period_shards_is_compared_once_a_run(self, database: FakeDynamoDB) -> None:
        add_order(database, "return refunded", "ord_1")
        add_order(database, "dispute lost", "ord_2")
        database.calls.clear()
        report = audited()[0]
        assert (report.entries, report.orders) == (9, 2)


# For each order: its state, the minute at which its entries are posted, and whether an audit runs before.
PLANS = st.lists(st.tuples(st.sampled_from(sorted(STATES)), st.integers(0, 90), st.booleans()), max_size=12)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLANS, st.integers(0, 2))
def test_audits_at_any_time_find_nothing_and_balances_match(aws: Aws, plan: list[tuple[str, int, bool]], late: int) -> None:
    aws.dynamodb = FakeDynamoDB(*TABLES)
    aws.lend()
    entries: list[posting_rules.Entry] = []
    audited(POSTED)
    for number, (state, minutes, first) in enumerate(sorted(plan, key=lambda one: one[1])):
        at = POSTED + timedelta(minutes=minutes)
        if first:
            assert audited(at)[1] == []
        happened = add_order(aws.dynamodb, state, f"ord_{number}", posted_at=at)
        entries += [posting_rules.entry_for(one, FEES) for one in happened if one.type in POSTED_EVENTS]
    report, reported, balances = audited(POSTED + timedelta(minutes=180, days=late))
    assert (report.differences, reported) == ([], [])
    assert nonzero({name: one.accounts for name, one in balances.items()}) == nonzero(posting_rules.balances(entries))
