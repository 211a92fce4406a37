"""Reads of the order log: consistent where they must be, and complete."""

from __future__ import annotations

from typing import Any

import pytest

from orderflow.aws.order_log import OrderLog, OrderNotFound
from tests.fakes.aws.dynamodb import FakeDynamoDB
from tests.support import orders
from tests.support.order_log import place, record
from tests.support.orders import ORDER_ID


class Lagging:
    """A log of three events whose eventually consistent copy lacks some; `queries` has the reads since."""

    def __init__(self, orderlog: OrderLog, database: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
        self._orderlog, self._database, self._monkeypatch = orderlog, database, monkeypatch
        self.queries: list[dict[str, Any]] = []

    def __call__(self, seen: tuple[int, ...]) -> OrderLog:
        place(self._orderlog)
        record(self._orderlog, orders.RESERVE, orders.APPROVE)
        whole = self._database.query

        def query(**given: Any) -> dict[str, Any]:
            self.queries.append(given)
            answer = whole(**given)
            there = [item for version, item in enumerate(answer["Items"], 1) if version in seen]
            return answer if given["ConsistentRead"] else {**answer, "Items": there}

        self._monkeypatch.setattr(self._database, "query", query)
        return self._orderlog


@pytest.fixture
def lagging(orderlog: OrderLog, database: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch) -> Lagging:
    return Lagging(orderlog, database, monkeypatch)


class TestReading:
    def test_history_and_load_agree(self, orderlog: OrderLog) -> None:
        place(orderlog)
        order = record(orderlog, orders.RESERVE, orders.APPROVE)
        assert [event.type for event in orderlog.history(ORDER_ID)] == ["OrderPlaced", "StockReserved", "OrderScreened"]
        assert orderlog.load(ORDER_ID) == order

    def test_long_history_is_read_to_its_end(self, orderlog: OrderLog, database: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
        place(orderlog)
        record(orderlog, orders.RESERVE, orders.APPROVE)
        query = database.query
        monkeypatch.setattr(database, "query", lambda **given: query(**given, Limit=1))
        assert len(orderlog.history(ORDER_ID)) == 3

    def test_more_events_than_ten_keep_their_order(self, orderlog: OrderLog) -> None:
        place(orderlog)
        record(orderlog, orders.RESERVE, orders.HOLD, orders.APPROVE_REVIEW, orders.AUTHORIZE)
        record(orderlog, orders.FAIL, orders.VOID, orders.RELEASE, orders.REJECT)
        versions = [event.order_version for event in orderlog.history(ORDER_ID)]
        assert versions == list(range(1, 10))

    @pytest.mark.parametrize(
        ("min_version", "seen", "consistent"),
        [
            (None, (1, 2, 3), [True]),
            (3, (1, 2, 3), [False]),
            (1, (1, 2, 3), [False]),
            (2, (1, 2), [False]),
            (3, (1, 2), [False, True]),
            (2, (1, 3), [False, True]),
            (1, (), [False, True]),
        ],
        ids=["no minimum", "complete", "newer", "equal", "behind", "with a gap", "empty"],
    )
    def test_known_version_is_read_eventually_consistent(
        self, lagging: Lagging, min_version: int | None, seen: tuple[int, ...], consistent: list[bool]
    ) -> None:
        orderlog = lagging(seen)
        order = orderlog.load(ORDER_ID, min_version)
        assert [given["ConsistentRead"] for given in lagging.queries] == consistent
        assert order.version == (3 if consistent[-1] else len(seen))
        assert order.version >= (min_version or 3)

    def test_decision_on_a_stale_copy_is_repeated(self, lagging: Lagging) -> None:
        orderlog = lagging((1, 2))
        stale = orderlog.load(ORDER_ID, 2)
        assert orderlog.record(stale, orders.APPROVE, source="fraud").order.version == 3
        assert [event.type for event in orderlog.history(ORDER_ID)] == ["OrderPlaced", "StockReserved", "OrderScreened"]
        assert [given["ConsistentRead"] for given in lagging.queries] == [False, True, True]

    @pytest.mark.parametrize("min_version", [None, 3])
    def test_half_of_a_transaction_is_read_again(
        self, orderlog: OrderLog, database: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch, min_version: int | None
    ) -> None:
        place(orderlog)
        record(orderlog, orders.RESERVE, orders.APPROVE)
        query, halves = database.query, iter([True] if min_version is None else [True, True])

        def query_within_transaction(**given: Any) -> dict[str, Any]:
            answer = query(**given)
            return {**answer, "Items": [answer["Items"][0], answer["Items"][2]]} if next(halves, False) else answer

        monkeypatch.setattr(database, "query", query_within_transaction)
        assert orderlog.load(ORDER_ID, min_version).version == 3

    def test_unknown_order_is_not_found_in_the_log_itself(self, orderlog: OrderLog) -> None:
        with pytest.raises(OrderNotFound):
            orderlog.load(ORDER_ID, 1)

    @pytest.mark.parametrize("read", ["load", "history"])
    def test_unknown_order_is_not_found(self, orderlog: OrderLog, read: str) -> None:
        with pytest.raises(OrderNotFound):
            getattr(orderlog, read)(ORDER_ID)
