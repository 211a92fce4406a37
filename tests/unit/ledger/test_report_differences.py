"""The handler of the ledger audit: answers, and differences that are logged, counted and published once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.difference_reporter import NotReported
from ledger.domain.events import Difference, LedgerDifferenceFound, difference_found
from ledger.handlers import audit_ledger
from ledger.handlers.audit_ledger import BALANCES, handler
from tests.conftest import ENVIRONMENT, Aws
from tests.fakes.aws.dynamodb import FakeDynamoDB
from tests.fakes.aws.eventbridge import FakeEventBridge
from tests.support import contracts, samples
from tests.support.audits import HOUR_END, add_order, falsify


@pytest.fixture
def bus(aws: Aws) -> FakeEventBridge:
    return aws.events


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


def test_difference_event_has_its_type_and_version() -> None:
    reported = difference_found(Difference("order", "ord_1", "EUR", 1, 2), HOUR_END)
    assert isinstance(reported, LedgerDifferenceFound)
    assert (reported.type, reported.schema_version, reported.source) == ("LedgerDifferenceFound", 1, "ledger")
