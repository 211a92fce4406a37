"""An event occurs at the time that its sender reports, if that time is possible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from orderflow.domain import events
from orderflow.domain.events import CustomerId
from orderflow.domain.order import Order, evolve, fold
from orderflow.domain.reported_time import CLOCK_SKEW, bounded, occurred_at
from tests.support import orders

NOW = orders.START + timedelta(days=10)
SECOND = timedelta(seconds=1)
FIRST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001 - the offset is added
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
DELIVERED = events.ShipmentDelivered(CustomerId("ann"), "parcel_2", orders.REST, complete=False)


@given(st.datetimes(timezones=OFFSETS, allow_imaginary=False), st.datetimes(datetime(2026, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
@example(FIRST.replace(tzinfo=timezone(timedelta(hours=14))), NOW)
@example(LAST.replace(tzinfo=timezone(-timedelta(hours=12))), NOW)
def test_reported_time_is_bounded_in_utc_or_ignored(reported: datetime, now: datetime) -> None:
    earliest = now - timedelta(days=3)
    result = bounded(reported, earliest, now)
    if result is None:
        assert reported < earliest or reported > now
    else:
        assert earliest <= result <= now
        assert result.utcoffset() == timedelta()
        assert abs(result - reported) <= CLOCK_SKEW


@given(st.timedeltas(timedelta(0), timedelta(days=3)), OFFSETS)
def test_time_within_the_bounds_is_kept(ago: timedelta, offset: timezone) -> None:
    assert bounded((NOW - ago).astimezone(offset), NOW - timedelta(days=3), NOW) == NOW - ago


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (NOW + CLOCK_SKEW, NOW),
        (NOW + CLOCK_SKEW + SECOND, None),
        (orders.START - CLOCK_SKEW, orders.START),
        (orders.START - CLOCK_SKEW - SECOND, None),
    ],
)
def test_clocks_may_be_off_by_five_minutes(reported: datetime, expected: datetime | None) -> None:
    assert bounded(reported, orders.START, NOW) == expected


def dispatched(**when: Any) -> Order:
    """Return an order confirmed 4 s after START and dispatched 1 h after START, unless `when` says otherwise."""
    order = fold(orders.ORDER_ID, orders.history(*orders.CONFIRMED))
    event = orders.history(*orders.CONFIRMED, orders.DISPATCH_REST)[-1]
    return evolve(order, replace(event, **{"occurred_at": orders.START + timedelta(hours=1)} | when))


LATE = {"recorded_at": orders.START + timedelta(days=9)}


@pytest.mark.parametrize(
    ("when", "reported", "expected"),
    [
        (LATE, timedelta(hours=2), timedelta(hours=2)),
        (LATE, timedelta(minutes=58), timedelta(hours=1)),
        (LATE, timedelta(minutes=30), timedelta(days=10)),
        # Without a reported time of dispatch, the delivery may precede the dispatch's recording.
        ({}, timedelta(minutes=30), timedelta(minutes=30)),
        ({}, timedelta(days=-1), timedelta(days=10)),
    ],
)
def test_parcel_is_delivered_after_its_dispatch(when: Any, reported: timedelta, expected: timedelta) -> None:
    assert occurred_at(dispatched(**when), DELIVERED, orders.START + reported, NOW) == orders.START + expected


def test_return_is_received_after_its_creation() -> None:
    order = fold(orders.ORDER_ID, orders.history(*orders.STATES["return requested"]))
    event_data = events.ReturnReceived("ret_1", orders.ONE_MUG, orders.TOTAL)
    announced = order.returns[0].requested_at
    assert occurred_at(order, event_data, announced + SECOND, NOW) == announced + SECOND
    assert occurred_at(order, event_data, announced - timedelta(hours=1), NOW) == NOW


def test_correction_is_dated_when_it_was_recorded() -> None:
    """Its credit note is numbered within the year of recording, since an ended year gets no new numbers."""
    happened = orders.history(*orders.STATES["lost refunded"])
    late = replace(happened[-1], recorded_at=happened[-1].occurred_at + timedelta(days=3))
    assert late.type == "PaymentRefunded"
    assert fold(orders.ORDER_ID, [*happened[:-1], late]).corrections[0].since == late.recorded_at
