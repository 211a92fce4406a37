"""The sandbox carrier: repeated requests, recalls, lost answers and concurrent requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from orderflow.aws.settings import MissingSetting
from orderflow.domain.events import StockLine
from shipping.carrier import CarrierRefused, CarrierTimeout, CarrierUnavailable, Contradiction, Parcel, Shipment
from shipping.carrier_factory import create_carrier
from shipping.sandbox.carrier import SandboxCarrier
from tests.fakes.aws.dynamodb import FakeDynamoDB, Table, answer_lost
from tests.support.orders import ADDRESS, ONE_MUG, REST, STOCK

PART = Parcel("parcel_1", ONE_MUG)


@pytest.fixture
def database() -> FakeDynamoDB:
    return FakeDynamoDB(Table("shipments", {"shipment_id": "S"}))


@pytest.fixture
def sandbox(database: FakeDynamoDB) -> SandboxCarrier:
    return SandboxCarrier("shipments", database.client)


def request(sandbox: SandboxCarrier, postal_code: str = "LS1 1AA", lines: tuple[StockLine, ...] = STOCK) -> Shipment:
    return sandbox.request("ship_1", lines, replace(ADDRESS, postal_code=postal_code))


def refusal(call: object) -> Contradiction:
    assert callable(call)
    with pytest.raises(CarrierRefused) as refused:
        call()
    return refused.value.code


def test_request_takes_one_call_and_repeats_its_answer(sandbox: SandboxCarrier, database: FakeDynamoDB) -> None:
    assert request(sandbox) == Shipment()
    assert database.calls == {"PutItem": 1}
    assert request(sandbox) == Shipment()
    assert sandbox.look_up("ship_1") == Shipment()


def test_shipment_id_refuses_another_request(sandbox: SandboxCarrier) -> None:
    request(sandbox)

    assert refusal(lambda: request(sandbox, lines=ONE_MUG)) is Contradiction.ID_REUSED
    assert refusal(lambda: request(sandbox, "LS1 1AB")) is Contradiction.ID_REUSED


def test_address_is_not_stored(sandbox: SandboxCarrier, database: FakeDynamoDB) -> None:
    request(sandbox)

    assert ADDRESS.name not in str(database.items("shipments"))
    assert ADDRESS.street not in str(database.items("shipments"))


def test_nothing_is_dispatched_after_a_recall(sandbox: SandboxCarrier) -> None:
    request(sandbox)
    sandbox.dispatch("ship_1", PART)

    assert sandbox.recall("ship_1") == Shipment((PART,), recalled=True)
    assert refusal(lambda: sandbox.dispatch("ship_1", Parcel("parcel_2", REST))) is Contradiction.RECALLED
    assert sandbox.recall("ship_1") == Shipment((PART,), recalled=True)


def test_request_after_its_recall_returns_recalled(sandbox: SandboxCarrier) -> None:
    sandbox.recall("ship_1")

    assert request(sandbox) == Shipment(recalled=True)
    assert refusal(lambda: sandbox.dispatch("ship_1", PART)) is Contradiction.RECALLED


def test_parcel_is_dispatched_once_with_remaining_lines(sandbox: SandboxCarrier) -> None:
    assert refusal(lambda: sandbox.dispatch("ship_1", PART)) is Contradiction.UNKNOWN_SHIPMENT
    request(sandbox)
    sandbox.dispatch("ship_1", PART)
    sandbox.dispatch("ship_1", PART)

    assert sandbox.undispatched_lines("ship_1") == REST
    assert refusal(lambda: sandbox.dispatch("ship_1", Parcel("parcel_1", REST))) is Contradiction.ID_REUSED
    assert refusal(lambda: sandbox.dispatch("ship_1", Parcel("parcel_2", STOCK))) is Contradiction.LINES_EXCEEDED


def test_lost_request_takes_effect_when_repeated(sandbox: SandboxCarrier) -> None:
    with pytest.raises(CarrierTimeout):
        request(sandbox, "TIMEOUT-BEFORE")

    assert sandbox.look_up("ship_1") is None
    assert request(sandbox, "TIMEOUT-BEFORE") == Shipment()


def test_lost_request_can_be_recalled(sandbox: SandboxCarrier) -> None:
    with pytest.raises(CarrierTimeout):
        request(sandbox, "TIMEOUT-BEFORE")
    sandbox.recall("ship_1")

    assert request(sandbox, "TIMEOUT-BEFORE") == Shipment(recalled=True)


def test_request_with_lost_answer_can_be_looked_up(sandbox: SandboxCarrier) -> None:
    with pytest.raises(CarrierTimeout):
        request(sandbox, "TIMEOUT-AFTER")

    assert sandbox.look_up("ship_1") == Shipment()
    assert request(sandbox, "TIMEOUT-AFTER") == Shipment()


def test_recall_with_lost_answer_took_effect(sandbox: SandboxCarrier) -> None:
    request(sandbox, "RECALL-TIMEOUT-AFTER")

    with pytest.raises(CarrierTimeout):
        sandbox.recall("ship_1")
    assert sandbox.look_up("ship_1") == Shipment(recalled=True)
    assert sandbox.recall("ship_1") == Shipment(recalled=True)


def test_impossible_recall_leaves_the_shipment(sandbox: SandboxCarrier) -> None:
    request(sandbox, "RECALL-IMPOSSIBLE")

    assert sandbox.recall("ship_1") == Shipment()
    sandbox.dispatch("ship_1", PART)


def test_unavailable_carrier_stores_nothing(sandbox: SandboxCarrier) -> None:
    with pytest.raises(CarrierUnavailable):
        request(sandbox, "UNAVAILABLE")
    assert sandbox.look_up("ship_1") is None


def test_lost_answer_of_the_table_raises_a_timeout(sandbox: SandboxCarrier, database: FakeDynamoDB) -> None:
    def lose(_operation: str, _parameters: object) -> None:
        raise answer_lost()

    database.after = lose
    with pytest.raises(CarrierTimeout):
        request(sandbox)
    with pytest.raises(CarrierUnavailable):
        sandbox.look_up("ship_1")


def test_concurrent_dispatch_and_recall_are_consistent(sandbox: SandboxCarrier) -> None:
    request(sandbox)
    with ThreadPoolExecutor(2) as pool:
        dispatched, recalled = pool.submit(sandbox.dispatch, "ship_1", PART), pool.submit(sandbox.recall, "ship_1")

    left = () if dispatched.exception() else (PART,)
    assert recalled.result() == Shipment(left, recalled=True)


def test_unknown_carrier_error_lists_the_valid_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(create_carrier(), SandboxCarrier)
    monkeypatch.setenv("CARRIER", "pigeon")
    with pytest.raises(MissingSetting, match="CARRIER must be one of sandbox, not 'pigeon'"):
        create_carrier()
