"""Older event versions are upcast when they are read, shown with a type that has three versions."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import msgspec
import pytest

from orderflow.domain import events
from orderflow.domain.events import Event, EventData
from orderflow.domain.money import Money
from tests.support import orders


class ParcelWeighed(EventData, frozen=True):
    """Version 1 had `kilograms`, version 2 `grams`; version 3 added the price."""

    schema_version: ClassVar[int] = 3

    grams: int
    price: Money


def _in_grams(data: dict[str, Any]) -> dict[str, Any]:
    return {"grams": data["kilograms"] * 1000}


def _with_a_price(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "price": {"amount": 0, "currency": "EUR"}}


@pytest.fixture(autouse=True)
def _published_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(events.EVENT_TYPES, "ParcelWeighed", ParcelWeighed)
    monkeypatch.setitem(events.UPCASTERS, ("ParcelWeighed", 1), _in_grams)
    monkeypatch.setitem(events.UPCASTERS, ("ParcelWeighed", 2), _with_a_price)


def document(version: int, data: Any) -> str:
    [placed] = orders.history(orders.PLACE)
    weighed = json.loads(events.encode(placed)) | {"type": "ParcelWeighed", "schema_version": version, "data": data}
    return json.dumps(weighed)


PRICED = {"grams": 2000, "price": {"amount": 0, "currency": "EUR"}}


@pytest.mark.parametrize(("version", "data"), [(1, {"kilograms": 2}), (2, {"grams": 2000}), (3, PRICED)])
def test_every_version_is_read_as_the_current_one(version: int, data: dict[str, Any]) -> None:
    event = events.decode(document(version, data))
    assert event.data == ParcelWeighed(2000, Money(0, "EUR"))
    assert event.schema_version == 3


def test_decoded_event_is_encoded_in_the_current_version() -> None:
    event = events.decode(document(1, {"kilograms": 2}))
    assert json.loads(events.encode(event))["data"] == PRICED
    assert events.decode(events.encode(event)) == event


@pytest.mark.parametrize("version", [-1, 0, 4, 2**40])
def test_unknown_version_is_refused(version: int) -> None:
    with pytest.raises(events.UnknownEvent, match=f"ParcelWeighed of version {version}"):
        events.decode(document(version, PRICED))


def test_newer_version_of_a_real_event_is_refused() -> None:
    [placed] = orders.history(orders.PLACE)
    newer = json.loads(events.encode(placed)) | {"schema_version": events.OrderPlaced.schema_version + 1}
    with pytest.raises(events.UnknownEvent, match=f"OrderPlaced of version {newer['schema_version']}"):
        events.decode(json.dumps(newer))


@pytest.mark.parametrize("data", [{}, {"kilograms": None}, [], "heavy", {"kilograms": "2"}])
def test_data_of_another_version_is_a_decode_error(data: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        events.decode(document(1, data))


def test_event_of_the_current_version_is_not_upcast(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError

    for version in (1, 2, 3):
        monkeypatch.setitem(events.UPCASTERS, ("ParcelWeighed", version), fail)
    assert isinstance(events.decode(document(3, PRICED)), Event)
