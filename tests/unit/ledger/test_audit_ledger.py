"""The ledger audit: no finding in a correct ledger, every kind of difference is found, and nothing is read twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from devtools.bench import long_orders
from ledger.audit import COMPLETE_AFTER, WINDOW, AuditReport, LedgerAudit
from ledger.balance_store import Balances
from ledger.difference_reporter import NotReported
from ledger.domain import period_shards, posting_rules
from ledger.domain.events import Difference, LedgerDifferenceFound, difference_found
from ledger.handlers import audit_ledger
from ledger.handlers.audit_ledger import BALANCES, ENTRIES, LOG, handler
from orderflow.aws.order_log import OrderLog
from orderflow.domain.events import Event, encode
from tests.conftest import ENVIRONMENT, TABLES, Aws
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB
from tests.fakes.aws.eventbridge import FakeEventBridge
from tests.support import contracts, samples
from tests.support.orders import STATES, history

FEES = posting_rules.Fees(140, {"EUR": 25})
POSTED = datetime(2026, 1, 15, 10, 40, tzinfo=UTC)
HOUR_END = datetime(2026, 1, 15, 11, 15, tzinfo=UTC)
LATER = HOUR_END + timedelta(hours=1)
MOVES = {
    "PaymentAuthorized",
    "PaymentVoided",
    "PaymentCaptured",
    "PaymentRefunded",
    "PaymentRefundReversed",
    "PaymentDisputed",
    "DisputeClosed",
    "DisputeOutcomeChanged",
}


@pytest.fixture
def database(aws: Aws) -> FakeDynamoDB:
    return aws.dynamodb


@pytest.fixture
def bus(aws: Aws) -> FakeEventBridge:
    return aws.events


def add_order(
    database: FakeDynamoDB, state: str, order_id: str, *, posted_at: datetime = POSTED, without: Sequence[str] = ()
) -> list[Event]:
    """Append an order to the log and post its entries, except those of the event types `without`."""
    happened = history(*STATES[state], order_id=order_id)
    rows = [
        {
            "order_id": {"S": order_id},
            "version": {"N": str(one.order_version)},
            "event": {"S": encode(one).decode()},
            "type": {"S": one.type},
        }
        for one in happened
    ]
    database.seed("OrderLog", *rows)
    for one in happened:
        if one.type in MOVES and one.type not in without:
            ENTRIES.post(posting_rules.entry_for(one, FEES), posted_at)
    return happened


def audited(now: datetime = HOUR_END) -> tuple[AuditReport, list[Difference], dict[str, Balances]]:
    """Audit the complete hours; return the report, the reported differences and the closed balances."""
    reported: list[Difference] = []
    audit = LedgerAudit(ENTRIES, BALANCES, LOG, reported.extend)
    report = audit.audit(now)
    return report, reported, audit.closed_balances(report)


def audited_with_open(now: datetime) -> tuple[AuditReport, dict[str, Balances]]:
    """Audit the complete hours and include the open ones; return the report and the balances of all entries."""
    audit = LedgerAudit(ENTRIES, BALANCES, LOG, lambda _: None)
    report = audit.audit(now)
    return report, audit.include_open(report, now)


def falsify(database: FakeDynamoDB, event_id: str, **accounts: int) -> None:
    """Change an entry's postings by these amounts."""
    row = next(row for row in database.items("LedgerEntries") if row["event_id"]["S"] == event_id)
    for posting in row["postings"]["L"]:
        by = accounts.pop(posting["M"]["account"]["S"], 0)
        posting["M"]["amount"] = {"N": str(int(posting["M"]["amount"]["N"]) + by)}
    database.seed("LedgerEntries", row)


def remove(database: FakeDynamoDB, event_id: str) -> None:
    """Delete an entry."""
    row = next(row for row in database.items("LedgerEntries") if row["event_id"]["S"] == event_id)
    database.client.delete_item(TableName="LedgerEntries", Key={"order_id": row["order_id"], "event_id": row["event_id"]})


@contextmanager
def missing_from_index(database: FakeDynamoDB, event_id: str) -> Iterator[None]:
    """Remove an entry from the index within the context."""
    row = next(row for row in database.items("LedgerEntries") if row["event_id"]["S"] == event_id)
    database.seed("LedgerEntries", {name: value for name, value in row.items() if name != "sheet"})
    yield
    database.seed("LedgerEntries", row)


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
    authorized, captured, *_ = (one for one in happened if one.type in MOVES)
    assert audited()[1] == []
    ENTRIES.post(posting_rules.entry_for(captured, FEES), HOUR_END)
    assert Difference("event", authorized.event_id, "EUR", 2990, 0) in audited(LATER)[1]


class TestRecheck:
    DAY_LATER = HOUR_END + timedelta(days=1)

    def test_entry_indexed_late_is_found_and_closed_a_day_later(self, database: FakeDynamoDB) -> None:
        add_order(database, "authorized", "ord_1")
        add_order(database, "authorized", "ord_2")
        with missing_from_index(database, "ord_1:4"):
            _, reported, balances = audited()
            assert (reported, balances["EUR"].entries) == ([], 1)
        _, reported, balances = audited(self.DAY_LATER)
        shard = period_shards.shard_of("ord_1:4", POSTED)
        assert {(one.kind, one.place, one.account, one.found - one.expected) for one in reported} == {
            ("sheet", shard, "authorizations", 2990),
            ("sheet", shard, "holds", -2990),
            ("sheet", shard, "entries", 1),
        }
        assert balances["EUR"] == audited_with_open(self.DAY_LATER)[1]["EUR"]
        assert _not_zero({"EUR": balances["EUR"].accounts}) == {"EUR": {"authorizations": 5980, "holds": -5980}}
        assert balances["EUR"].entries == 2

    def test_entry_removed_after_its_audit_is_found_and_subtracted(self, database: FakeDynamoDB) -> None:
        add_order(database, "authorized", "ord_1")
        audited()
        remove(database, "ord_1:4")
        _, reported, balances = audited(self.DAY_LATER)
        assert {(one.kind, one.account) for one in reported} == {("sheet", "authorizations"), ("sheet", "holds"), ("sheet", "entries")}
        assert (balances["EUR"].entries, _not_zero({"EUR": balances["EUR"].accounts})) == (0, {"EUR": {}})

    def test_entry_changed_after_its_audit_is_reported_once(self, database: FakeDynamoDB) -> None:
        add_order(database, "authorized", "ord_1")
        audited()
        falsify(database, "ord_1:4", holds=-1, authorizations=1)
        assert {(one.kind, one.account) for one in audited(self.DAY_LATER)[1]} == {("sheet", "authorizations"), ("sheet", "holds")}
        assert audited(self.DAY_LATER + timedelta(days=2))[1] == []

    def test_concurrent_audits_correct_once(self, database: FakeDynamoDB) -> None:
        add_order(database, "authorized", "ord_1")
        with missing_from_index(database, "ord_1:4"):
            audited()

        def concurrent_audit(operation: str, _parameters: Any) -> None:
            if operation == "TransactWriteItems":
                database.before = None
                audited(self.DAY_LATER)

        database.before = concurrent_audit
        audited(self.DAY_LATER)
        assert BALANCES.closed()["EUR"].entries == 1

    def test_audit_continues_after_a_crash_before_or_after_closing(self, database: FakeDynamoDB) -> None:
        add_order(database, "authorized", "ord_1")
        with missing_from_index(database, "ord_1:4"):
            audited()
        for moment in ("before", "after"):

            def crash(operation: str, _parameters: Any, moment: str = moment) -> None:
                if operation == "TransactWriteItems":
                    setattr(database, moment, None)
                    raise Crash

            setattr(database, moment, crash)
            with pytest.raises(Crash):
                audited(self.DAY_LATER)
        audited(self.DAY_LATER)
        assert BALANCES.closed()["EUR"].entries == 1


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


class TestHandler:
    @pytest.mark.parametrize("name", samples.names("ledger/audit_ledger"))
    def test_samples_have_their_documented_answers(self, name: str, aws: Aws, context: Any) -> None:
        context.get_remaining_time_in_millis = lambda: 600_000
        assert samples.agrees(handler(samples.sample(name), context), samples.expected(name))

    def test_answer_has_every_balance(self, database: FakeDynamoDB, context: Any) -> None:
        add_order(database, "paid", "ord_1", posted_at=datetime.now(UTC))
        answer = handler({"open": True}, context)
        assert answer["balances"]["EUR"]["accounts"]["revenue"] == -2990
        assert (answer["balances"]["EUR"]["sum"], answer["balances"]["EUR"]["entries"]) == (0, 3)
        json.dumps(answer)

    def test_difference_is_logged_counted_and_published(
        self,
        database: FakeDynamoDB,
        bus: FakeEventBridge,
        context: Any,
        logged: Callable[[], list[dict[str, Any]]],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        add_order(database, "authorized", "ord_1", posted_at=datetime.now(UTC))
        falsify(database, "ord_1:4", holds=5)
        answer = handler({"open": True}, context)
        assert answer["outcome"] == "different"
        (first, second, third) = bus.entries
        assert (first["Source"], first["DetailType"], first["EventBusName"]) == (
            "ledger",
            "LedgerDifferenceFound",
            ENVIRONMENT["EVENT_BUS"],
        )
        assert json.loads(first["Detail"])["data"]["kind"] == "entry"
        assert [problem for entry in (first, second, third) for problem in contracts.problems(json.loads(entry["Detail"]))] == []
        assert json.loads(second["Detail"])["data"] == {
            "kind": "event", "place": "ord_1:4", "currency": "EUR", "expected": -2990, "found": -2985, "account": "holds",
        }  # fmt: skip
        assert json.loads(third["Detail"])["data"]["kind"] == "trial_balance"
        assert [line["kind"] for line in logged() if line["level"] == "ERROR"] == ["entry", "event", "trial_balance"]
        measured = next(json.loads(line) for line in capsys.readouterr().out.splitlines() if "LedgerDifferences" in line)
        assert sum(measured["LedgerDifferences"]) == 3

    @pytest.mark.parametrize(("left", "late"), [(600_000, False), (0, True)], ids=["keeps up", "out of time"])
    def test_late_audit_is_a_metric(self, aws: Aws, context: Any, capsys: pytest.CaptureFixture[str], left: int, late: bool) -> None:
        context.get_remaining_time_in_millis = lambda: left
        handler({}, context)
        assert ("LedgerUnprovenSeconds" in capsys.readouterr().out) is late

    def test_same_difference_has_the_same_event_id(self, database: FakeDynamoDB, bus: FakeEventBridge, context: Any) -> None:
        add_order(database, "authorized", "ord_1", posted_at=datetime.now(UTC))
        falsify(database, "ord_1:4", holds=5)
        for _ in range(2):
            handler({"open": True}, context)
        assert len({detail["event_id"] for detail in bus.details}) == 3
        assert len(bus.details) == 6

    def test_hours_stay_open_until_the_differences_are_published(
        self,
        database: FakeDynamoDB,
        bus: FakeEventBridge,
        context: Any,
        logged: Callable[[], list[dict[str, Any]]],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        add_order(database, "authorized", "ord_1", posted_at=datetime.now(UTC) - timedelta(hours=3))
        database.seed("LedgerEntries", database.items("LedgerEntries")[0] | {"amount": {"N": "2989"}})
        context.get_remaining_time_in_millis = lambda: 600_000
        bus.refuse = {0}
        with pytest.raises(NotReported):
            handler({}, context)
        assert BALANCES.closed() == {}
        assert any(line["level"] == "ERROR" for line in logged())
        assert "LedgerDifferences" in capsys.readouterr().out
        handler({}, context)
        assert [detail["data"]["kind"] for detail in bus.details] == ["event"]
        assert BALANCES.closed()["EUR"].entries == 1

    def test_at_most_a_hundred_differences_are_reported(self, bus: FakeEventBridge, aws: Aws) -> None:
        audit_ledger.REPORTER.report([Difference("entry", f"ord_{number}:4", "EUR", 0, 1) for number in range(250)])
        assert (len(bus.entries), bus.batches) == (100, [10] * 10)

    @pytest.mark.parametrize("request_", [{"close": True}, {"open": "yes"}])
    def test_malformed_request_is_rejected(self, aws: Aws, context: Any, request_: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"open|close"):
            handler(request_, context)


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
            if one.type in MOVES:
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
        missing = next(one for one in self.HAPPENED[(60 - ago) * 14 :] if one.type in MOVES)
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


def test_difference_event_has_its_type_and_version() -> None:
    reported = difference_found(Difference("order", "ord_1", "EUR", 1, 2), HOUR_END)
    assert isinstance(reported, LedgerDifferenceFound)
    assert (reported.type, reported.schema_version, reported.source) == ("LedgerDifferenceFound", 1, "ledger")


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
        entries += [posting_rules.entry_for(one, FEES) for one in happened if one.type in MOVES]
    report, reported, balances = audited(POSTED + timedelta(minutes=180, days=late))
    assert (report.differences, reported) == ([], [])
    assert _not_zero({name: one.accounts for name, one in balances.items()}) == _not_zero(posting_rules.balances(entries))


def _not_zero(balances: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {currency: {account: sum_ for account, sum_ in accounts.items() if sum_} for currency, accounts in balances.items()}
