"""The recheck of closed hours a day later: changed, removed and late entries are found and corrected once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from ledger.domain import period_shards
from ledger.handlers.audit_ledger import BALANCES
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB
from tests.support.audits import HOUR_END, POSTED, add_order, audited, audited_with_open, falsify, nonzero, remove


@contextmanager
def missing_from_index(database: FakeDynamoDB, event_id: str) -> Iterator[None]:
    """Remove an entry from the index within the context."""
    row = next(row for row in database.items("LedgerEntries") if row["event_id"]["S"] == event_id)
    database.seed("LedgerEntries", {name: value for name, value in row.items() if name != "sheet"})
    yield
    database.seed("LedgerEntries", row)


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
        assert nonzero({"EUR": balances["EUR"].accounts}) == {"EUR": {"authorizations": 5980, "holds": -5980}}
        assert balances["EUR"].entries == 2

    def test_entry_removed_after_its_audit_is_found_and_subtracted(self, database: FakeDynamoDB) -> None:
        add_order(database, "authorized", "ord_1")
        audited()
        remove(database, "ord_1:4")
        _, reported, balances = audited(self.DAY_LATER)
        assert {(one.kind, one.account) for one in reported} == {("sheet", "authorizations"), ("sheet", "holds"), ("sheet", "entries")}
        assert (balances["EUR"].entries, nonzero({"EUR": balances["EUR"].accounts})) == (0, {"EUR": {}})

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
