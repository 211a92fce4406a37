"""The active-order marker follows an order's events, also after crashes and late writes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orderflow.aws import dynamodb, order_log_items
from orderflow.aws.order_log import OrderLog
from orderflow.aws.order_log_items import active_shard
from orderflow.domain.commands import Command
from orderflow.domain.order import Order
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, answer_lost, client_error, crash_at, throttled
from tests.support import orders
from tests.support.order_log import failing, items, place, record
from tests.support.orders import ORDER_ID


class TestActiveOrderMarker:
    def marker(self, database: FakeDynamoDB) -> tuple[Any, Any]:
        first = items(database)[0]
        return first.get("open_shard"), first.get("open_since")

    def test_placed_order_is_on_the_index_since_it_was_placed(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        event = place(orderlog)
        assert self.marker(database) == ({"S": active_shard(ORDER_ID)}, {"S": dynamodb.timestamp(event.occurred_at)})

    @pytest.mark.parametrize(
        "commands",
        [
            (orders.RESERVE, orders.APPROVE, orders.AUTHORIZE, orders.CONFIRM),
            (orders.SHORTAGE, orders.REJECT),
        ],
    )
    def test_event_that_ends_the_saga_clears_the_marker(
        self, orderlog: OrderLog, database: FakeDynamoDB, commands: tuple[Command, ...]
    ) -> None:
        place(orderlog)
        *before, last = commands
        record(orderlog, *before)
        assert self.marker(database) != (None, None)
        record(orderlog, last)
        assert self.marker(database) == (None, None)
        assert database.calls["TransactWriteItems"] == 1  # the write that placed the order
        assert database.calls["UpdateItem"] == 1

    def test_held_orders_have_their_own_partitions(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        place(orderlog)
        record(orderlog, orders.RESERVE, orders.HOLD)
        held = orderlog.history(ORDER_ID)[-1]
        assert self.marker(database) == ({"S": active_shard(ORDER_ID, "held")}, {"S": dynamodb.timestamp(held.occurred_at)})
        assert active_shard(ORDER_ID, "held") in order_log_items.active_shards("held")
        assert not {*order_log_items.active_shards("held")} & {*order_log_items.active_shards("open")}

    def test_decision_sets_the_marker_again(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        place(orderlog)
        record(orderlog, orders.RESERVE, orders.HOLD, orders.APPROVE_REVIEW)
        decided = orderlog.history(ORDER_ID)[-1]
        assert self.marker(database) == ({"S": active_shard(ORDER_ID)}, {"S": dynamodb.timestamp(decided.occurred_at)})

    @pytest.mark.parametrize(
        "commands",
        [
            (orders.RESERVE, orders.HOLD, orders.APPROVE_REVIEW),
            (orders.RESERVE, orders.HOLD, orders.CANCEL),
            (orders.RESERVE, orders.APPROVE, orders.AUTHORIZE, orders.CONFIRM, orders.CANCEL),
        ],
    )
    def test_event_that_needs_the_saga_sets_the_marker(
        self, orderlog: OrderLog, database: FakeDynamoDB, commands: tuple[Command, ...]
    ) -> None:
        place(orderlog)
        *before, last = commands
        record(orderlog, *before)
        assert self.marker(database)[0] != {"S": active_shard(ORDER_ID)}
        database.before = crash_at("UpdateItem")
        record(orderlog, last)
        assert self.marker(database)[0] == {"S": active_shard(ORDER_ID)}
        assert database.calls["TransactWriteItems"] == 2

    @pytest.mark.parametrize(
        "error", [throttled("UpdateItem"), answer_lost(), client_error("UpdateItem", "TransactionConflictException", "x")]
    )
    @pytest.mark.parametrize("last", [orders.HOLD, orders.CONFIRM])
    def test_event_is_appended_although_the_marker_fails(
        self, orderlog: OrderLog, database: FakeDynamoDB, error: Exception, last: Command
    ) -> None:
        place(orderlog)
        record(orderlog, orders.RESERVE, *((orders.APPROVE, orders.AUTHORIZE) if last is orders.CONFIRM else ()))
        marker = self.marker(database)
        database.before = failing("UpdateItem", error)
        after = record(orderlog, last)
        assert orderlog.load(ORDER_ID) == after
        assert self.marker(database) == marker

    def test_crash_after_the_event_leaves_the_marker(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        confirmed, marker = self.confirm_and_crash(orderlog, database)
        assert confirmed.state == "confirmed"
        orderlog.clear_marker(confirmed)
        assert marker != self.marker(database) == (None, None)

    def test_older_order_does_not_clear_a_newer_marker(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        confirmed, _ = self.confirm_and_crash(orderlog, database)
        cancelling = record(orderlog, orders.CANCEL)
        orderlog.clear_marker(confirmed)
        assert self.marker(database)[0] == {"S": active_shard(ORDER_ID)}
        ended = record(orderlog, orders.RECALL, orders.VOID, orders.RELEASE, orders.COMPLETE_CANCELLATION)
        assert self.marker(database) == (None, None)
        for late in (confirmed, cancelling, ended):
            orderlog.clear_marker(late)
        assert self.marker(database) == (None, None)

    def test_late_clearing_does_not_mark_a_decided_order_as_held(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        place(orderlog)
        held = record(orderlog, orders.RESERVE, orders.HOLD)
        record(orderlog, orders.CANCEL)
        orderlog.clear_marker(held)
        assert self.marker(database)[0] == {"S": active_shard(ORDER_ID)}
        record(orderlog, orders.RELEASE, orders.COMPLETE_CANCELLATION)
        orderlog.clear_marker(held)
        assert self.marker(database) == (None, None)

    def test_late_marker_of_a_held_order_keeps_its_time(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        event = place(orderlog)
        record(orderlog, orders.RESERVE)
        database.before = crash_at("UpdateItem")
        with pytest.raises(Crash):
            record(orderlog, orders.HOLD)
        orderlog.clear_marker(orderlog.load(ORDER_ID))
        assert self.marker(database) == ({"S": active_shard(ORDER_ID, "held")}, {"S": dynamodb.timestamp(event.occurred_at)})

    def confirm_and_crash(self, orderlog: OrderLog, database: FakeDynamoDB) -> tuple[Order, tuple[Any, Any]]:
        place(orderlog)
        record(orderlog, orders.RESERVE, orders.APPROVE, orders.AUTHORIZE)
        database.before = crash_at("UpdateItem")
        with pytest.raises(Crash):
            record(orderlog, orders.CONFIRM)
        database.before = None
        return orderlog.load(ORDER_ID), self.marker(database)

    def test_marker_changes_no_other_attribute(self, orderlog: OrderLog, database: FakeDynamoDB) -> None:
        place(orderlog)
        others = {name: value for name, value in items(database)[0].items() if not name.startswith("open_")}
        record(orderlog, orders.SHORTAGE, orders.REJECT)
        assert items(database)[0] == {**others, "open_version": {"N": "3"}}

    def test_markers_sort_by_time_as_strings(self) -> None:
        moments = [orders.START + timedelta(microseconds=step) for step in (0, 1, 999_999, 1_000_000, 10**11)]
        stamps = [dynamodb.timestamp(moment) for moment in moments]
        assert stamps == sorted(stamps)
        assert len({len(stamp) for stamp in stamps}) == 1

    def test_active_orders_use_all_shards(self) -> None:
        shards = {active_shard(f"ord_{number}") for number in range(200)}
        assert shards == {str(shard) for shard in range(order_log_items.OPEN_SHARDS)}
