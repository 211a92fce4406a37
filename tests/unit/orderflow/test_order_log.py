"""The order log: conditional appends, conflicts, lost answers and extra writes."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from orderflow.aws import dynamodb, order_log_items
from orderflow.aws.dynamodb import Conflict, TransactionConditionFailed, TransactionConflict
from orderflow.aws.order_log import OrderLog, Recorded, Refused, RequestMismatch
from orderflow.aws.order_log_items import ITEM_ATTRIBUTES, UPDATE_MARKERS
from orderflow.aws.outbox_index import OutboxIndex
from orderflow.domain import events
from orderflow.domain.commands import Command
from orderflow.domain.order import Order
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, answer_lost, client_error, conflict, crash_at
from tests.support import orders
from tests.support.clock import recorded_at
from tests.support.order_log import items, place, record
from tests.support.orders import ORDER_ID

OTHER_TABLE = "Stock"


def other(condition: str = "attribute_not_exists(sku)") -> Any:
    """Return a write to another table."""
    return {"Put": {"TableName": OTHER_TABLE, "Item": {"sku": {"S": "MUG"}}, "ConditionExpression": condition}}


def lose(operation: str) -> Any:
    """Return a hook that loses the answers to all calls of an operation."""

    def hook(name: str, _: dict[str, Any]) -> None:
        if name == operation:
            raise answer_lost()

    return hook


class TestPlace:
    def test_placing_makes_one_call_and_one_item(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        event = place(orderlog, other())
        assert dict(database.calls) == {"TransactWriteItems": 1}
        assert (event.event_id, event.order_version, event.type) == (f"{ORDER_ID}:1", 1, "OrderPlaced")
        assert (event.correlation_id, event.causation_id, event.source) == ("request-7", None, "orders")
        (item,) = items(database)
        assert events.decode(item["event"]["S"]) == event

    def test_repeated_request_returns_the_original_event(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        first = place(orderlog)
        record(orderlog, orders.RESERVE, orders.APPROVE)
        assert place(orderlog) == first
        assert len(items(database)) == 3

    def test_other_request_for_the_same_order_is_rejected(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        place(orderlog)
        before = items(database)
        with pytest.raises(RequestMismatch):
            place(orderlog, fingerprint="f2")
        assert items(database) == before

    def test_lost_answer_is_recovered_by_a_retry(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        database.after = lose("TransactWriteItems")
        with pytest.raises(Exception, match="Read timeout"):
            place(orderlog)
        database.after = None
        assert place(orderlog) == orderlog.history(ORDER_ID)[0]
        assert len(items(database)) == 1

    def test_crash_after_the_write_keeps_the_order(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        database.after = crash_at("TransactWriteItems")
        with pytest.raises(Crash):
            place(orderlog)
        assert orderlog.load(ORDER_ID).state == "placed"

    def test_other_writes_take_effect_with_the_event_and_once(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        place(orderlog, other())
        assert database.items(OTHER_TABLE) == [{"sku": {"S": "MUG"}}]
        database.seed(OTHER_TABLE, {"sku": {"S": "MUG"}, "changed": {"BOOL": True}})
        place(orderlog, other("attribute_exists(sku)"))
        assert "changed" in database.items(OTHER_TABLE)[0]

    def test_failed_extra_write_leaves_no_order(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        with pytest.raises(TransactionConditionFailed):
            place(orderlog, other("attribute_exists(sku)"))
        assert items(database) == []

    def test_repeated_request_is_answered_although_a_write_fails(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        first = place(orderlog, other())
        assert place(orderlog, other()) == first

    def test_conflicting_transaction_is_retried(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        database.before = _conflicts(9)
        assert place(orderlog) == orderlog.history(ORDER_ID)[0]

    def test_persistent_conflict_raises_transaction_conflict(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        database.before = _conflicts(99)
        with pytest.raises(TransactionConflict):
            place(orderlog)


class TestAppendOnly:
    def test_insert_writes_the_attributes_that_its_policy_names(
        self, orderlog: OrderLog, database: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(order_log_items, "SAMPLE", 1)
        place(orderlog)
        record(orderlog, orders.RESERVE)
        assert {name for item in items(database) for name in item} == set(ITEM_ATTRIBUTES)

    def test_every_update_sets_a_marker_that_no_insert_may_set(
        self, orderlog: OrderLog, database: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(order_log_items, "SAMPLE", 1)
        place(orderlog)
        OutboxIndex("OrderLog", database.client).clear(ORDER_ID, 1)
        record(orderlog, orders.RESERVE, orders.HOLD, orders.APPROVE_REVIEW, orders.AUTHORIZE, orders.CONFIRM)
        OutboxIndex("OrderLog", database.client).clear(ORDER_ID, 3)
        changes = database.changes["OrderLog"]
        inserted = [change["dynamodb"]["NewImage"] for change in changes if change["eventName"] == "INSERT"]
        updated = [change["dynamodb"]["NewImage"] for change in changes if change["eventName"] == "MODIFY"]
        assert len(updated) == 5
        assert not any(marker in image for image in inserted for marker in UPDATE_MARKERS)
        assert all(any(marker in image for marker in UPDATE_MARKERS) for image in updated)
        assert not set(UPDATE_MARKERS) & set(ITEM_ATTRIBUTES)


def _first(times: int, error: Any) -> Any:
    """Return a hook that raises `error(operation)` at the first `times` calls."""
    seen: list[str] = []

    def hook(name: str, _: dict[str, Any]) -> None:
        seen.append(name)
        if len(seen) <= times:
            raise error(name)

    return hook


class TestAppend:
    def test_each_event_names_the_one_before_as_its_cause(self, orderlog: OrderLog) -> None:
        place(orderlog)
        record(orderlog, orders.RESERVE, orders.APPROVE)
        history = orderlog.history(ORDER_ID)
        assert [event.causation_id for event in history] == [None, f"{ORDER_ID}:1", f"{ORDER_ID}:2"]
        assert {event.correlation_id for event in history} == {"request-7"}

    def test_second_writer_gets_a_conflict(self, orderlog: OrderLog) -> None:
        place(orderlog)
        stale = orderlog.load(ORDER_ID)
        record(orderlog, orders.RESERVE)
        with pytest.raises(Conflict):
            orderlog.append(stale, [events.FulfilmentFailed("reserve", "x")], source="orders")

    def test_record_decides_again_after_a_conflict(self, orderlog: OrderLog) -> None:
        place(orderlog)
        stale = orderlog.load(ORDER_ID)
        record(orderlog, orders.RESERVE)
        result = orderlog.record(stale, orders.FAIL, source="orders")
        assert isinstance(result, Recorded)
        assert (result.order.version, result.order.state) == (3, "failing")
        assert [event.order_version for event in result.events] == [3]

    def test_command_with_an_earlier_effect_appends_nothing(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        place(orderlog)
        stale = orderlog.load(ORDER_ID)
        record(orderlog, orders.RESERVE)
        result = orderlog.record(stale, orders.RESERVE, source="inventory")
        assert result == Recorded(orderlog.load(ORDER_ID), ())
        assert len(items(database)) == 2

    def test_refused_command_adds_nothing(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        place(orderlog)
        order = orderlog.load(ORDER_ID)
        result = orderlog.record(order, orders.CONFIRM, source="orders", extra_writes=[other()])
        assert isinstance(result, Refused)
        assert result.order == order
        assert "not possible" in result.refusal.why
        assert len(items(database)) == 1
        assert not database.items(OTHER_TABLE)

    def test_record_takes_extra_writes_with_the_events(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        place(orderlog)
        result = orderlog.record(orderlog.load(ORDER_ID), orders.RESERVE, source="inventory", extra_writes=[other()])
        assert isinstance(result, Recorded)
        assert [event.type for event in result.events] == ["StockReserved"]
        assert len(database.items(OTHER_TABLE)) == 1

    def test_record_with_extra_writes_leaves_a_conflict_to_its_caller(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        place(orderlog)
        stale = orderlog.load(ORDER_ID)
        record(orderlog, orders.RESERVE)
        with pytest.raises(Conflict):
            orderlog.record(stale, orders.FAIL, source="orders", extra_writes=[other()])
        assert not database.items(OTHER_TABLE)

    def test_lost_answer_is_found_in_the_log_afterwards(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        place(orderlog)
        database.after = lose("PutItem")
        with pytest.raises(Exception, match="Read timeout"):
            record(orderlog, orders.RESERVE)
        database.after = None
        assert record(orderlog, orders.RESERVE).version == 2

    def test_conflict_at_every_attempt_is_raised(self, orderlog: OrderLog, database: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
        place(orderlog)
        stale = orderlog.load(ORDER_ID)
        record(orderlog, orders.RESERVE)
        monkeypatch.setattr(orderlog, "refresh", lambda _: stale)
        with pytest.raises(Conflict):
            orderlog.record(stale, orders.RESERVE, source="inventory")

    @pytest.mark.parametrize("command", [orders.RESERVE, orders.FAIL])
    def test_put_conflicting_with_a_transaction_is_retried(self, orderlog: OrderLog, database: FakeDynamoDB, command: Command) -> None:
        place(orderlog)
        order = orderlog.load(ORDER_ID)
        database.before = _first(2, lambda name: client_error(name, "TransactionConflictException", "in progress"))
        assert orderlog.record(order, command, source="orders").order.version == 2


class TestReportedTime:
    def test_event_has_the_senders_time(self, orderlog: OrderLog) -> None:
        reported = datetime.now(UTC) - timedelta(days=1)
        with recorded_at(reported - timedelta(days=1)):
            place(orderlog)
            record(orderlog, *orders.CONFIRMED[1:])
        order = orderlog.record(orderlog.load(ORDER_ID), orders.DISPATCH_REST, source="shipping", occurred_at=reported).order
        last = orderlog.history(ORDER_ID)[-1]
        assert (last.occurred_at, order.parcels[0].left_at) == (reported, reported)
        assert last.appended_at > reported

    def test_markers_have_the_recording_time(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        order_id = next(one for one in map("ord_{}".format, range(1000)) if not zlib.crc32(one.encode()) % order_log_items.SAMPLE)
        with recorded_at(orders.START):
            orderlog.place(order_id, orders.PLACED, correlation_id="r", fingerprint="f")
        reported = orders.START + timedelta(hours=1)
        for command in (orders.RESERVE, orders.HOLD, orders.APPROVE_REVIEW):
            orderlog.record(orderlog.load(order_id), command, source="tests", occurred_at=reported)
        first, *_, last = items(database)
        event = events.decode(last["event"]["S"])
        assert event.occurred_at == reported
        assert event.recorded_at
        assert first["open_since"] == last["outbox_since"] == {"S": dynamodb.timestamp(event.recorded_at)}


def stock(available: int, sku: str = "MUG-BLUE") -> Any:
    """Return a write to another table that requires `available` units in stock."""
    return {
        "Update": {
            "TableName": OTHER_TABLE,
            "Key": {"sku": {"S": sku}},
            "UpdateExpression": "ADD reserved :one",
            "ConditionExpression": "available >= :least",
            "ExpressionAttributeValues": {":one": {"N": "1"}, ":least": {"N": str(available)}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


class TestExtraWrites:
    @pytest.fixture(autouse=True)
    def stocked(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        place(orderlog)
        for sku in ("MUG-BLUE", "FILTER-100"):
            database.seed(OTHER_TABLE, {"sku": {"S": sku}, "available": {"N": "5"}, "reserved": {"N": "0"}})

    def reserve(self, orderlog: OrderLog, *writes: Any, order: Order | None = None) -> Order:
        decided = [events.StockReserved(orders.STOCK)]
        return orderlog.append(order or orderlog.load(ORDER_ID), decided, source="inventory", extra_writes=writes)

    def test_event_and_the_change_take_effect_together(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        assert self.reserve(orderlog, stock(5)).reservation == "held"
        assert [row["reserved"]["N"] for row in database.items(OTHER_TABLE)] == ["0", "1"]

    def test_failed_condition_writes_nothing_and_names_the_item(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        with pytest.raises(TransactionConditionFailed) as failed:
            self.reserve(orderlog, stock(5), stock(6, "FILTER-100"))
        assert [reason.code for reason in failed.value.reasons] == ["None", "ConditionalCheckFailed"]
        assert failed.value.reasons[1].item["available"] == 5
        assert len(items(database)) == 1
        assert all(row["reserved"]["N"] == "0" for row in database.items(OTHER_TABLE))

    def test_version_conflict_precedes_other_reasons(self, orderlog: OrderLog) -> None:
        stale = orderlog.load(ORDER_ID)
        record(orderlog, orders.FAIL)
        with pytest.raises(Conflict):
            self.reserve(orderlog, stock(6), order=stale)

    def test_transaction_conflicts_are_retried(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        database.before = _conflicts(3)
        assert self.reserve(orderlog, stock(5)).version == 2

    def test_conflicts_in_every_attempt_raise_transaction_conflict(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        database.before = _conflicts(99)
        with pytest.raises(TransactionConflict):
            self.reserve(orderlog, stock(5))
        assert len(items(database)) == 1

    @pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
    def test_throttled_transactions_are_retried(self, orderlog: OrderLog, database: FakeDynamoDB, code: str) -> None:
        database.before = _canceled(code, 3)
        assert self.reserve(orderlog, stock(5)).version == 2

    @pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
    def test_throttle_in_every_attempt_is_a_conflict(self, orderlog: OrderLog, database: FakeDynamoDB, code: str) -> None:
        database.before = _canceled(code, 99)
        with pytest.raises(TransactionConflict):
            self.reserve(orderlog, stock(5))
        assert len(items(database)) == 1

    def test_other_cancellation_reasons_are_faults(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        database.before = _canceled("ValidationError", 1)
        with pytest.raises(ClientError):
            self.reserve(orderlog, stock(5))

    def test_several_events_are_appended_in_one_transaction(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        decided = [events.StockReserved(orders.STOCK), events.OrderScreened("approve", 1, ())]
        database.calls.clear()
        order = orderlog.append(orderlog.load(ORDER_ID), decided, source="inventory")
        assert order.version == 3
        assert database.calls["TransactWriteItems"] == 1
        assert [json.loads(item["event"]["S"])["order_version"] for item in items(database)] == [1, 2, 3]


def _canceled(code: str, times: int) -> Any:
    """Return a hook that cancels the first transactions with this reason for their first write."""
    reasons = [{"Code": code}, {"Code": "None"}]
    errors = [client_error("TransactWriteItems", "TransactionCanceledException", "x", CancellationReasons=reasons)] * times

    def hook(name: str, _given: dict[str, Any]) -> None:
        if name == "TransactWriteItems" and errors:
            raise errors.pop()

    return hook


def _conflicts(times: int) -> Any:
    seen: list[str] = []

    def hook(name: str, given: dict[str, Any]) -> None:
        if name == "TransactWriteItems":
            seen.append(name)
            if len(seen) <= times:
                raise conflict(given)

    return hook
