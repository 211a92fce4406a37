"""Events survive a JSON round trip; readers ignore unknown fields."""

from __future__ import annotations

import json
from datetime import timedelta

import msgspec
import pytest

from orderflow.domain import events
from tests.support import orders

ALL_EVENTS = list({(one.type, one.order_version): one for commands in orders.STATES.values() for one in orders.history(*commands)}.values())


@pytest.mark.parametrize("event", ALL_EVENTS, ids=lambda event: f"{event.type}-{event.order_version}")
def test_event_survives_a_round_trip(event: events.Event) -> None:
    assert events.decode(events.encode(event)) == event
    assert events.decode(events.encode(event).decode()) == event


def test_every_event_type_is_covered_here() -> None:
    missing = set(events.EVENT_TYPES) - {event.type for event in ALL_EVENTS}
    assert not missing, f"no order of tests/support/orders.py has {', '.join(missing)}: add a state to STATES whose commands lead to it"


def test_recording_time_is_written_only_if_it_differs() -> None:
    assert "recorded_at" not in json.loads(events.encode(ALL_EVENTS[0]))
    late = msgspec.structs.replace(ALL_EVENTS[0], recorded_at=ALL_EVENTS[0].occurred_at + timedelta(days=3))
    assert json.loads(events.encode(late))["recorded_at"] == "2026-01-18T10:30:00Z"
    assert events.decode(events.encode(late)) == late
    assert (ALL_EVENTS[0].appended_at, late.appended_at) == (ALL_EVENTS[0].occurred_at, late.recorded_at)


def test_times_are_written_in_utc_and_money_in_minor_units() -> None:
    document = json.loads(events.encode(ALL_EVENTS[0]))
    assert document["occurred_at"] == "2026-01-15T10:30:00Z"
    assert document["data"]["total"] == {"amount": 2990, "currency": "EUR"}
    assert document["schema_version"] == events.OrderPlaced.schema_version


def test_unknown_fields_are_ignored() -> None:
    document = json.loads(events.encode(ALL_EVENTS[0]))
    document["tenant"] = "one"
    document["data"]["gift_wrap"] = True
    document["data"]["customer"]["phone"] = "123"
    assert events.decode(json.dumps(document)) == ALL_EVENTS[0]


def test_unknown_type_is_refused() -> None:
    document = json.loads(events.encode(ALL_EVENTS[0])) | {"type": "OrderTeleported"}
    with pytest.raises(events.UnknownEvent, match="OrderTeleported"):
        events.decode(json.dumps(document))


@pytest.mark.parametrize("raw", ["", "{", "[]", "null", '{"type": "OrderPlaced"}', b"\xff\xfe"])
def test_malformed_event_is_a_decode_error(raw: bytes | str) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        events.decode(raw)


@pytest.mark.parametrize("character", ["\ufffe", "\uffff"])
def test_events_hold_only_characters_that_queues_accept(character: str) -> None:
    placed = msgspec.structs.replace(ALL_EVENTS[0].data, payment_country=character)
    encoded = events.encode(msgspec.structs.replace(ALL_EVENTS[0], data=placed)).decode()
    assert character not in encoded
    assert json.loads(encoded)["data"]["payment_country"] == "\ufffd"


def test_data_of_another_shape_is_refused() -> None:
    document = json.loads(events.encode(ALL_EVENTS[0]))
    document["data"]["lines"][0]["quantity"] = "two"
    with pytest.raises(msgspec.ValidationError, match="quantity"):
        events.decode(json.dumps(document))


def test_unknown_address_fields_are_ignored() -> None:
    document = json.loads(events.encode(ALL_EVENTS[0]))
    document["data"]["shipping_address"]["planet"] = "Earth"
    assert events.decode(json.dumps(document)) == ALL_EVENTS[0]


def test_time_without_its_offset_is_refused() -> None:
    document = json.loads(events.encode(ALL_EVENTS[0])) | {"occurred_at": "2026-01-15T10:30:00"}
    with pytest.raises(msgspec.ValidationError, match="occurred_at"):
        events.decode(json.dumps(document))
