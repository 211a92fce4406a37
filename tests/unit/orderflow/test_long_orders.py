"""Orders of many events: folding and loading take linear time, and their number of parts is bounded."""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

import pytest
from msgspec.structs import replace

from devtools.bench import long_orders
from devtools.bench.long_orders import ORDER_ID
from orderflow.aws import order_cache, order_log
from orderflow.aws.order_log import OrderLog
from orderflow.domain import commands, events
from orderflow.domain.commands import RecordDispatch, RecordDispute, RecordShipment, Refusal, RequestReturn, decide
from orderflow.domain.money import Money
from orderflow.domain.order import Dispute, Latest, Order, Return, fold, latest
from orderflow.domain.parts import Parts
from tests.fakes.aws.environment import Aws
from tests.support import orders

MONITOR = sys.monitoring.PROFILER_ID


def lines_run(happened: list[events.Event]) -> int:
    """Return the number of Python lines that folding these events executes."""
    lines = 0

    def count(_code: CodeType, _line: int) -> None:
        nonlocal lines
        lines += 1

    sys.monitoring.use_tool_id(MONITOR, "lines")
    try:
        sys.monitoring.register_callback(MONITOR, sys.monitoring.events.LINE, count)
        sys.monitoring.set_events(MONITOR, sys.monitoring.events.LINE)
        fold(ORDER_ID, happened)
    finally:
        sys.monitoring.set_events(MONITOR, 0)
        sys.monitoring.free_tool_id(MONITOR)
    return lines


def test_fold_executes_as_many_lines_per_event_in_a_long_order() -> None:
    happened = long_orders.history(1500)
    first, all_of_them = lines_run(happened[:150]) / 150, lines_run(happened) / 1500
    assert all_of_them <= 1.1 * first


@pytest.mark.parametrize("state", sorted(orders.STATES))
def test_sums_of_an_order_are_those_of_its_parcels_and_returns(state: str) -> None:
    order = orders.after(*orders.STATES[state])
    delivered = [line for parcel in order.parcels if parcel.state == "delivered" for line in parcel.lines]
    returned = [line for one in order.returns if one.amount is not None for line in one.lines]
    sent = [line for parcel in order.parcels for line in parcel.lines]
    ordered = order.lines if order.placed else ()

    def units(some: Any) -> dict[str, int]:
        return {line.sku: sum(one.quantity for one in some if one.sku == line.sku) for line in some}

    assert dict(order.delivered) == units(delivered)
    assert dict(order.unreturned) == {sku: number - units(returned).get(sku, 0) for sku, number in units(delivered).items()}
    assert order.parcels_in_transit == sum(parcel.state == "dispatched" for parcel in order.parcels)
    removed = units([*sent, *order.cancelled])
    assert dict(order.undispatched) == {line.sku: line.quantity - removed.get(line.sku, 0) for line in ordered}


def test_parts_are_immutable() -> None:
    first = Parts[int]().put("a", 1).put("b", 2)
    after = first.put("a", 3)
    assert (list(first), list(after)) == ([1, 2], [3, 2])
    assert (after.get("a"), after.get("c"), after[0], after[1:], len(after)) == (3, None, 3, (2,), 2)
    assert first != after
    assert Parts({"a": 3, "b": 2}) == after
    assert bool(after)
    assert not Parts[int]()


class Counted:
    """A client that counts the items that its queries return."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.items = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def query(self, **given: Any) -> Any:
        answer = self._client.query(**given)
        self.items += len(answer["Items"])
        return answer


@pytest.fixture
def client(aws: Aws) -> Counted:
    return Counted(aws.dynamodb.client)


@pytest.fixture
def orderlog(client: Counted) -> OrderLog:
    return OrderLog("OrderLog", client)  # pyright: ignore[reportArgumentType] - a stand-in


def write(aws: Aws, happened: list[events.Event]) -> None:
    for event in happened:
        keys = {"order_id": {"S": event.order_id}, "version": {"N": str(event.order_version)}}
        aws.dynamodb.seed("OrderLog", {**keys, "type": {"S": event.type}, "event": {"S": events.encode(event).decode()}})


def test_refresh_reads_only_the_events_appended_since(aws: Aws, orderlog: OrderLog, client: Counted) -> None:
    happened = long_orders.history(40)
    write(aws, happened[:30])
    order = orderlog.load(ORDER_ID)
    write(aws, happened[30:])
    client.items = 0
    assert orderlog.refresh(order) == fold(ORDER_ID, happened)
    assert client.items == 10
    with pytest.raises(order_log.OrderNotFound):
        orderlog.refresh(Order(order_id="ord_none"))


def test_loads_over_the_life_of_a_long_order_read_each_event_about_once(aws: Aws, orderlog: OrderLog, client: Counted) -> None:
    happened = long_orders.history(600)
    for number, event in enumerate(happened, 1):
        write(aws, [event])
        assert orderlog.load(ORDER_ID, min_version=number).version == number
    assert orderlog.load(ORDER_ID) == fold(ORDER_ID, happened)
    # Up to a length of 100 each load reads everything.
    assert client.items <= order_cache.MIN_EVENTS * order_cache.MIN_EVENTS / 2 + len(happened)


@pytest.mark.parametrize("min_version", [None, 3])
def test_short_order_is_read_as_a_whole_by_each_load(aws: Aws, orderlog: OrderLog, client: Counted, min_version: int | None) -> None:
    write(aws, long_orders.history(9))
    for _ in range(2):
        assert orderlog.load(ORDER_ID, min_version).version == 9
    assert client.items == 18


def test_bounded_number_of_long_orders_is_cached(orderlog: OrderLog) -> None:
    order = fold(ORDER_ID, long_orders.history(order_cache.MIN_EVENTS))
    for number in range(order_cache.MAX_ORDERS + 5):
        orderlog._cache.put(replace(order, order_id=f"ord_{number}"))
    assert list(orderlog._cache._orders) == [f"ord_{number}" for number in range(5, order_cache.MAX_ORDERS + 5)]


def test_append_after_a_conflict_reads_only_new_events(aws: Aws, orderlog: OrderLog, client: Counted) -> None:
    happened = long_orders.history(60)
    write(aws, happened[:-2])
    order = orderlog.load(ORDER_ID)
    write(aws, [happened[-2]])
    client.items = 0
    after = orderlog.record(order, RecordShipment("ship_1"), source="test").order
    assert after.version == order.version
    orderlog.record(order, RecordDispute("dp_1", Money(100, "EUR"), "fraudulent"), source="test")
    assert client.items == 1


def full(field: str, most: int) -> Order:
    """Return a delivered order with `most` parcels, returns or disputes."""
    order = orders.after(*orders.DELIVERED)
    some = {
        "parcels": [replace(order.parcels[0], parcel_id=f"p{number}") for number in range(most)],
        "returns": [Return(return_id=f"r{number}", lines=(), reason="", requested_at=orders.START) for number in range(most)],
        "disputes": [Dispute(f"d{number}", Money(1, "EUR")) for number in range(most)],
    }[field]
    return replace(order, **{field: Parts({getattr(one, f"{field[:-1]}_id"): one for one in some})})


LINES = orders.after(*orders.DELIVERED).parcels[0].lines
LIMITED = {
    "parcels": (commands.MAX_PARCELS, lambda name: RecordDispatch(name, LINES)),
    "returns": (commands.MAX_RETURNS, lambda name: RequestReturn(name, LINES[:1], "", orders.START)),
    "disputes": (commands.MAX_DISPUTES, lambda name: RecordDispute(name, Money(1, "EUR"), "")),
}


@pytest.mark.parametrize("field", LIMITED)
def test_order_refuses_parcels_returns_and_disputes_over_the_limit(field: str) -> None:
    most, command = LIMITED[field]
    for number, taken in ((most - 1, True), (most, False)):
        order = full(field, number)
        if field == "parcels":
            order = replace(order, state="partly_dispatched", undispatched={line.sku: line.quantity for line in LINES})
        decided = decide(order, command("one-more"))
        assert isinstance(decided, Refusal) is not taken
        assert taken or f"at most {most} {field}" in decided.why  # pyright: ignore[reportAttributeAccessIssue]
    assert decide(full("disputes", most), LIMITED["disputes"][1]("d0")) == ()


def test_latest_event_of_the_given_types_is_found() -> None:
    happened = orders.history(*orders.DELIVERED)
    order = fold(orders.ORDER_ID, happened)
    wanted = next(one for one in reversed(happened) if one.type in {"OrderConfirmed", "PaymentAuthorized"})
    assert latest(order, {"PaymentAuthorized", "OrderConfirmed", "OrderRejected"}) == Latest(wanted.order_version, wanted.appended_at)
    assert latest(order, {"OrderRejected"}) is None
