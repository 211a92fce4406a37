"""The proof: it is silent about books that add up, finds each way in which they do not, and reads nothing twice."""

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
OVER = datetime(2026, 1, 15, 11, 15, tzinfo=UTC)
LATER = OVER + timedelta(hours=1)
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


def happen(database: FakeDynamoDB, state: str, order_id: str, *, posted_at: datetime = POSTED, without: Sequence[str] = ()) -> list[Event]:
    """Put an order on the log, and what moves its money into the books but for some types of events."""
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


def proven(now: datetime = OVER) -> tuple[AuditReport, list[Difference], dict[str, Balances]]:
    """Prove what is complete; return also what was reported, and the balances of that and all before."""
    told: list[Difference] = []
    prover = LedgerAudit(ENTRIES, BALANCES, LOG, told.extend)
    result = prover.audit(now)
    return result, told, prover.closed_balances(result)


def looked(now: datetime) -> tuple[AuditReport, dict[str, Balances]]:
    """Prove what is complete and look at the rest; return also the balances of everything."""
    prover = LedgerAudit(ENTRIES, BALANCES, LOG, lambda _: None)
    result = prover.audit(now)
    return result, prover.include_open(result, now)


def falsify(database: FakeDynamoDB, event_id: str, **accounts: int) -> None:
    """Have an entry's postings come to more than they did."""
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
def not_indexed(database: FakeDynamoDB, event_id: str) -> Iterator[None]:
    """Have the index not know an entry yet."""
    row = next(row for row in database.items("LedgerEntries") if row["event_id"]["S"] == event_id)
    database.seed("LedgerEntries", {name: value for name, value in row.items() if name != "sheet"})
    yield
    database.seed("LedgerEntries", row)


def test_books_that_add_up_are_proven_and_carried(database: FakeDynamoDB) -> None:
    happen(database, "return refunded", "ord_1")
    happen(database, "dispute lost", "ord_2")
    before = looked(POSTED)[1]
    result, told, balances = proven()
    assert (result.differences, told) == ([], [])
    assert (result.entries, result.until) == (9, datetime(2026, 1, 15, 11, tzinfo=UTC))
    assert balances == before == BALANCES.closed()
    assert posting_rules.total(balances["EUR"].accounts) == 0


def test_an_hour_is_proven_when_it_has_been_over_for_a_while(database: FakeDynamoDB) -> None:
    happen(database, "paid", "ord_1")
    too_early, _, balances = proven(OVER - timedelta(seconds=1))
    assert (too_early.entries, balances) == (0, {})
    assert looked(OVER - timedelta(seconds=1))[1]["EUR"].entries == 3
    assert BALANCES.closed() == {}
    assert proven(OVER)[0].entries == 3


def test_what_is_proven_is_not_read_again_and_its_balance_stays(database: FakeDynamoDB) -> None:
    happen(database, "paid", "ord_1")
    proven()
    happen(database, "authorized", "ord_2", posted_at=OVER)
    again, _, balances = proven(OVER)
    assert (again.period_shards, again.entries, balances["EUR"].entries) == (0, 0, 3)
    assert looked(OVER)[1]["EUR"].entries == 4
    next_one, told, balances = proven(LATER)
    assert (next_one.period_shards, next_one.entries, told) == (period_shards.SHARDS, 1, [])
    assert balances["EUR"].entries == 4


def test_a_proof_that_runs_out_of_time_goes_on_with_the_next_sheet(database: FakeDynamoDB) -> None:
    for number in range(20):
        happen(database, "authorized", f"ord_{number}")
    runs = 0
    while (mark := BALANCES.next_shard()) is None or mark < period_shards.first_shard(OVER):
        steps = iter([True, True, True])
        LedgerAudit(ENTRIES, BALANCES, LOG, lambda _: None).audit(OVER, goes_on=lambda steps=steps: next(steps, False))
        runs += 1
    assert runs > 60
    assert BALANCES.closed()["EUR"].entries == 20


def test_two_proofs_at_once_carry_once(database: FakeDynamoDB) -> None:
    happen(database, "paid", "ord_1")

    def meanwhile(operation: str, _parameters: Any) -> None:
        if operation == "TransactWriteItems":
            database.before = None
            proven()

    database.before = meanwhile
    proven()
    assert BALANCES.closed()["EUR"].entries == 3
    assert proven()[2]["EUR"].entries == 3


def test_balances_are_as_of_one_moment_whoever_proves_meanwhile(database: FakeDynamoDB) -> None:
    happen(database, "paid", "ord_1")
    happen(database, "paid", "ord_2", posted_at=OVER)

    def meanwhile(operation: str, given: Any) -> None:
        if operation == "Query" and given["TableName"] == "LedgerBalances":
            database.before = None
            proven(LATER)

    proof = AuditReport(until=OVER)
    database.before = meanwhile
    assert LedgerAudit(ENTRIES, BALANCES, LOG, lambda _: None).include_open(proof, LATER)["EUR"].entries == 6
    assert BALANCES.closed()["EUR"].entries == 6


def test_an_entry_that_is_not_what_the_rules_make_of_its_event_is_found_on_its_account(database: FakeDynamoDB) -> None:
    happen(database, "paid", "ord_1")
    captured = next(item["event_id"]["S"] for item in database.items("LedgerEntries") if item["type"]["S"] == "PaymentCaptured")
    falsify(database, captured, fees=100, clearing=-100)
    result, told, _ = proven()
    assert told == result.differences
    assert {(one.kind, one.place, one.account, one.found - one.expected) for one in told} == {
        ("event", captured, "fees", 100),
        ("event", captured, "clearing", -100),
    }


def test_an_entry_of_this_hour_that_was_changed_is_found_by_looking(database: FakeDynamoDB) -> None:
    happen(database, "authorized", "ord_1")
    falsify(database, "ord_1:4", holds=-1, authorizations=1)
    found = looked(POSTED)[0].differences
    assert [(one.kind, one.account, one.found - one.expected) for one in found] == [("event", "authorizations", 1), ("event", "holds", -1)]
    assert not proven(POSTED)[0].entries


@pytest.mark.parametrize(("changed", "found"), [({"amount": {"N": "2989"}}, 2989), ({"currency": {"S": "USD"}}, 0)])
def test_an_entry_with_another_amount_than_its_event_is_found(database: FakeDynamoDB, changed: Any, found: int) -> None:
    happen(database, "authorized", "ord_1")
    database.seed("LedgerEntries", database.items("LedgerEntries")[0] | changed)
    assert proven()[1] == [Difference("event", "ord_1:4", "EUR", 2990, found)]


def test_what_is_carried_and_does_not_sum_to_zero_is_found(database: FakeDynamoDB) -> None:
    happen(database, "authorized", "ord_1")
    proven()
    row = next(row for row in database.items("LedgerBalances") if row["sheet"]["S"] == "carried")
    database.seed("LedgerBalances", row | {"losses": {"N": "7"}})
    assert proven()[1] == [Difference("trial_balance", "all", "EUR", 0, 7)]


def test_an_entry_that_does_not_sum_to_zero_is_found(database: FakeDynamoDB) -> None:
    happen(database, "authorized", "ord_1")
    falsify(database, "ord_1:4", authorizations=1)
    assert proven()[1] == [
        Difference("entry", "ord_1:4", "EUR", 0, 1),
        Difference("event", "ord_1:4", "EUR", 2990, 2991, "authorizations"),
        Difference("trial_balance", "all", "EUR", 0, 1),
    ]


@pytest.mark.parametrize("number", range(3))
def test_an_entry_that_is_gone_is_found_by_another_of_its_order(database: FakeDynamoDB, number: int) -> None:
    happen(database, "paid", "ord_1")
    gone = database.items("LedgerEntries")[number]
    remove(database, gone["event_id"]["S"])
    assert Difference("event", gone["event_id"]["S"], "EUR", int(gone["amount"]["N"]), 0) in proven()[1]


def test_an_entry_that_is_not_there_is_found_by_one_that_its_order_has_later(database: FakeDynamoDB) -> None:
    happened = happen(database, "paid", "ord_1", without=["PaymentAuthorized", "PaymentCaptured"])
    authorized, captured, *_ = (one for one in happened if one.type in MOVES)
    assert proven()[1] == []
    ENTRIES.post(posting_rules.entry_for(captured, FEES), OVER)
    assert Difference("event", authorized.event_id, "EUR", 2990, 0) in proven(LATER)[1]


class TestSecondLook:
    DAY_LATER = OVER + timedelta(days=1)

    def test_an_entry_that_the_index_did_not_have_in_time_is_found_and_carried_a_day_later(self, database: FakeDynamoDB) -> None:
        happen(database, "authorized", "ord_1")
        happen(database, "authorized", "ord_2")
        with not_indexed(database, "ord_1:4"):
            _, told, balances = proven()
            assert (told, balances["EUR"].entries) == ([], 1)
        _, told, balances = proven(self.DAY_LATER)
        sheet = period_shards.shard_of("ord_1:4", POSTED)
        assert {(one.kind, one.place, one.account, one.found - one.expected) for one in told} == {
            ("sheet", sheet, "authorizations", 2990),
            ("sheet", sheet, "holds", -2990),
            ("sheet", sheet, "entries", 1),
        }
        assert balances["EUR"] == looked(self.DAY_LATER)[1]["EUR"]
        assert _not_zero({"EUR": balances["EUR"].accounts}) == {"EUR": {"authorizations": 5980, "holds": -5980}}
        assert balances["EUR"].entries == 2

    def test_an_entry_that_was_removed_after_its_proof_is_found_and_no_longer_carried(self, database: FakeDynamoDB) -> None:
        happen(database, "authorized", "ord_1")
        proven()
        remove(database, "ord_1:4")
        _, told, balances = proven(self.DAY_LATER)
        assert {(one.kind, one.account) for one in told} == {("sheet", "authorizations"), ("sheet", "holds"), ("sheet", "entries")}
        assert (balances["EUR"].entries, _not_zero({"EUR": balances["EUR"].accounts})) == (0, {"EUR": {}})

    def test_an_entry_that_was_changed_after_its_proof_is_found_and_told_once(self, database: FakeDynamoDB) -> None:
        happen(database, "authorized", "ord_1")
        proven()
        falsify(database, "ord_1:4", holds=-1, authorizations=1)
        assert {(one.kind, one.account) for one in proven(self.DAY_LATER)[1]} == {("sheet", "authorizations"), ("sheet", "holds")}
        assert proven(self.DAY_LATER + timedelta(days=2))[1] == []

    def test_two_proofs_at_once_correct_once(self, database: FakeDynamoDB) -> None:
        happen(database, "authorized", "ord_1")
        with not_indexed(database, "ord_1:4"):
            proven()

        def meanwhile(operation: str, _parameters: Any) -> None:
            if operation == "TransactWriteItems":
                database.before = None
                proven(self.DAY_LATER)

        database.before = meanwhile
        proven(self.DAY_LATER)
        assert BALANCES.closed()["EUR"].entries == 1

    def test_a_proof_that_dies_before_or_after_it_carries_goes_on_where_it_was(self, database: FakeDynamoDB) -> None:
        happen(database, "authorized", "ord_1")
        with not_indexed(database, "ord_1:4"):
            proven()
        for moment in ("before", "after"):

            def die(operation: str, _parameters: Any, moment: str = moment) -> None:
                if operation == "TransactWriteItems":
                    setattr(database, moment, None)
                    raise Crash

            setattr(database, moment, die)
            with pytest.raises(Crash):
                proven(self.DAY_LATER)
        proven(self.DAY_LATER)
        assert BALANCES.closed()["EUR"].entries == 1


@pytest.mark.parametrize(
    ("state", "missing", "expected", "found"),
    [("paid", "PaymentCaptured", 2990, 0), ("return refunded", "PaymentRefunded", 1740, 2990)],
)
def test_an_order_that_disagrees_with_its_log_is_found(database: FakeDynamoDB, state: str, missing: str, expected: int, found: int) -> None:
    happen(database, state, "ord_1", without=[missing])
    assert set(_orders(proven()[1])) == {Difference("order", "ord_1", "EUR", expected, found)}


def test_an_entry_of_an_order_that_nobody_knows_is_found(database: FakeDynamoDB) -> None:
    happen(database, "paid", "ord_1")
    for item in database.items("OrderLog"):
        database.client.delete_item(TableName="OrderLog", Key={"order_id": item["order_id"], "version": item["version"]})
    assert set(_orders(proven()[1])) == {Difference("order", "ord_1", "EUR", 0, 2990)}


def test_what_happened_just_now_need_not_have_been_posted(database: FakeDynamoDB) -> None:
    happened = happen(database, "paid", "ord_1", without=["PaymentCaptured"])
    just_now = happened[-1].occurred_at + COMPLETE_AFTER
    assert looked(just_now - timedelta(seconds=2))[0].differences == []
    assert _orders(looked(just_now + timedelta(seconds=2))[0].differences)


def test_a_late_report_need_not_have_been_posted_before_it_was_recorded(database: FakeDynamoDB) -> None:
    happened = happen(database, "paid", "ord_1", without=["PaymentCaptured"])
    recorded_at = happened[-1].occurred_at + timedelta(minutes=10)
    for row, event in zip(database.items("OrderLog"), happened, strict=True):
        if event.type == "PaymentCaptured":
            database.seed("OrderLog", row | {"event": {"S": encode(replace(event, recorded_at=recorded_at)).decode()}})
    just_now = recorded_at + COMPLETE_AFTER
    assert looked(just_now - timedelta(seconds=2))[0].differences == []
    assert _orders(looked(just_now + timedelta(seconds=2))[0].differences)


def _orders(found: list[Difference]) -> list[Difference]:
    return [one for one in found if one.kind == "order"]


def test_what_is_posted_while_a_sheet_is_looked_at_is_no_difference(database: FakeDynamoDB) -> None:
    happen(database, "authorized", "ord_0")
    busy = database.items("LedgerEntries")[0]["sheet"]["S"]
    others = (order_id for order_id in map("ord_{}".format, range(1, 1000)) if period_shards.shard_of(f"{order_id}:4", POSTED) == busy)

    def post_on(_operation: str, given: Any) -> None:
        if given.get("IndexName") == "by-sheet" and given["ExpressionAttributeValues"][":value"] == {"S": busy}:
            database.after = None
            happen(database, "authorized", next(others))
            database.after = post_on

    database.after = post_on
    result, balances = looked(POSTED)
    assert (result.differences, posting_rules.total(balances["EUR"].accounts)) == ([], 0)


class TestHandler:
    @pytest.mark.parametrize("name", samples.names("ledger/audit_ledger"))
    def test_the_samples_have_the_answers_that_stand_beside_them(self, name: str, aws: Aws, context: Any) -> None:
        context.get_remaining_time_in_millis = lambda: 600_000
        assert samples.agrees(handler(samples.sample(name), context), samples.expected(name))

    def test_it_answers_with_every_balance(self, database: FakeDynamoDB, context: Any) -> None:
        happen(database, "paid", "ord_1", posted_at=datetime.now(UTC))
        answer = handler({"open": True}, context)
        assert answer["balances"]["EUR"]["accounts"]["revenue"] == -2990
        assert (answer["balances"]["EUR"]["sum"], answer["balances"]["EUR"]["entries"]) == (0, 3)
        json.dumps(answer)

    def test_a_difference_is_told_on_the_log_as_a_metric_and_on_the_bus(
        self,
        database: FakeDynamoDB,
        bus: FakeEventBridge,
        context: Any,
        logged: Callable[[], list[dict[str, Any]]],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        happen(database, "authorized", "ord_1", posted_at=datetime.now(UTC))
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
    def test_a_late_proof_is_a_metric(self, aws: Aws, context: Any, capsys: pytest.CaptureFixture[str], left: int, late: bool) -> None:
        context.get_remaining_time_in_millis = lambda: left
        handler({}, context)
        assert ("LedgerUnprovenSeconds" in capsys.readouterr().out) is late

    def test_the_same_difference_has_the_same_id_whenever_it_is_found(
        self, database: FakeDynamoDB, bus: FakeEventBridge, context: Any
    ) -> None:
        happen(database, "authorized", "ord_1", posted_at=datetime.now(UTC))
        falsify(database, "ord_1:4", holds=5)
        for _ in range(2):
            handler({"open": True}, context)
        assert len({detail["event_id"] for detail in bus.details}) == 3
        assert len(bus.details) == 6

    def test_what_the_bus_refuses_is_told_again_and_nothing_is_carried_before(
        self,
        database: FakeDynamoDB,
        bus: FakeEventBridge,
        context: Any,
        logged: Callable[[], list[dict[str, Any]]],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        happen(database, "authorized", "ord_1", posted_at=datetime.now(UTC) - timedelta(hours=3))
        database.seed("LedgerEntries", database.items("LedgerEntries")[0] | {"amount": {"N": "2989"}})
        context.get_remaining_time_in_millis = lambda: 600_000
        bus.refuse = {0}
        with pytest.raises(audit_ledger.NotReported):
            handler({}, context)
        assert BALANCES.closed() == {}
        assert any(line["level"] == "ERROR" for line in logged())
        assert "LedgerDifferences" in capsys.readouterr().out
        handler({}, context)
        assert [detail["data"]["kind"] for detail in bus.details] == ["event"]
        assert BALANCES.closed()["EUR"].entries == 1

    def test_of_very_many_differences_a_hundred_are_told(self, bus: FakeEventBridge, aws: Aws) -> None:
        audit_ledger.report([Difference("entry", f"ord_{number}:4", "EUR", 0, 1) for number in range(250)])
        assert (len(bus.entries), bus.batches) == (100, [10] * 10)

    @pytest.mark.parametrize("request_", [{"close": True}, {"open": "yes"}])
    def test_what_is_no_request_is_refused(self, aws: Aws, context: Any, request_: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"open|close"):
            handler(request_, context)


class Reading(OrderLog):
    """A log that counts the events that are read."""

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
        """Have the events of an hour happen, and their entries written."""
        each = len(self.HAPPENED) // self.HOURS
        for one in self.HAPPENED[hour * each : (hour + 1) * each]:
            keys = {"order_id": {"S": one.order_id}, "version": {"N": str(one.order_version)}}
            database.seed("OrderLog", {**keys, "event": {"S": encode(one).decode()}, "type": {"S": one.type}})
            if one.type in MOVES:
                ENTRIES.post(posting_rules.entry_for(one, FEES), POSTED + timedelta(hours=hour))

    def test_each_event_is_compared_a_bounded_number_of_times(self, database: FakeDynamoDB) -> None:
        log = Reading("OrderLog", database.client)
        for hour in range(self.HOURS):
            self.post(database, hour)
            now = OVER + timedelta(hours=hour)
            assert LedgerAudit(ENTRIES, BALANCES, log, lambda _: None).audit(now).differences == []
        assert log.read <= self.HOURS * 3 * WINDOW
        assert posting_rules.total(BALANCES.closed()["EUR"].accounts) == 0

    @pytest.mark.parametrize("ago", [1, 4])
    def test_missing_entry_is_found_by_a_later_entry_in_the_window(self, database: FakeDynamoDB, ago: int) -> None:
        for hour in range(60):
            self.post(database, hour)
        proven(OVER + timedelta(hours=59))
        missing = next(one for one in self.HAPPENED[(60 - ago) * 14 :] if one.type in MOVES)
        remove(database, missing.event_id)
        self.post(database, 60)
        # Without the second look of a day later, which finds it in the sums.
        differences = [one for one in proven(OVER + timedelta(hours=60))[1] if one.kind == "event"]
        assert [one.place for one in differences] == [missing.event_id]

    def test_an_order_on_several_sheets_is_compared_once_a_run(self, database: FakeDynamoDB) -> None:
        happen(database, "return refunded", "ord_1")
        happen(database, "dispute lost", "ord_2")
        database.calls.clear()
        result = proven()[0]
        assert (result.entries, result.orders) == (9, 2)


def test_the_event_of_a_difference_is_of_its_schema() -> None:
    told = difference_found(Difference("order", "ord_1", "EUR", 1, 2), OVER)
    assert isinstance(told, LedgerDifferenceFound)
    assert (told.type, told.schema_version, told.source) == ("LedgerDifferenceFound", 1, "ledger")


# The state of an order, the minute in which its entries are posted, and whether a proof runs before that.
PLANS = st.lists(st.tuples(st.sampled_from(sorted(STATES)), st.integers(0, 90), st.booleans()), max_size=12)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLANS, st.integers(0, 2))
def test_whenever_proofs_run_nothing_is_found_and_every_balance_is_its_entries(
    aws: Aws, plan: list[tuple[str, int, bool]], late: int
) -> None:
    aws.dynamodb = FakeDynamoDB(*TABLES)
    aws.lend()
    entries: list[posting_rules.Entry] = []
    proven(POSTED)
    for number, (state, minutes, first) in enumerate(sorted(plan, key=lambda one: one[1])):
        at = POSTED + timedelta(minutes=minutes)
        if first:
            assert proven(at)[1] == []
        happened = happen(aws.dynamodb, state, f"ord_{number}", posted_at=at)
        entries += [posting_rules.entry_for(one, FEES) for one in happened if one.type in MOVES]
    result, told, balances = proven(POSTED + timedelta(minutes=180, days=late))
    assert (result.differences, told) == ([], [])
    assert _not_zero({name: one.accounts for name, one in balances.items()}) == _not_zero(posting_rules.balances(entries))


def _not_zero(balances: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {currency: {account: sum_ for account, sum_ in accounts.items() if sum_} for currency, accounts in balances.items()}
