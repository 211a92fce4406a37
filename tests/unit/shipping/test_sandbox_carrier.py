"""The sandbox carrier on its table: repeated requests, recalls, lost answers, and requests that meet."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from orderflow.domain.events import StockLine
from shipping.carrier import CarrierRefused, CarrierTimeout, CarrierUnavailable, Contradiction, Parcel, Shipment
from shipping.carrier_factory import UnknownCarrier, create_carrier
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


def ask(sandbox: SandboxCarrier, postal_code: str = "LS1 1AA", lines: tuple[StockLine, ...] = STOCK) -> Shipment:
    return sandbox.request("ship_1", lines, replace(ADDRESS, postal_code=postal_code))


def refusal(call: object) -> Contradiction:
    assert callable(call)
    with pytest.raises(CarrierRefused) as refused:
        call()
    return refused.value.code


def test_a_request_takes_one_call_and_has_the_same_answer_again(sandbox: SandboxCarrier, database: FakeDynamoDB) -> None:
    assert ask(sandbox) == Shipment()
    assert database.calls == {"PutItem": 1}
    assert ask(sandbox) == Shipment()
    assert sandbox.look_up("ship_1") == Shipment()


def test_an_id_stands_for_one_request(sandbox: SandboxCarrier) -> None:
    ask(sandbox)

    assert refusal(lambda: ask(sandbox, lines=ONE_MUG)) is Contradiction.ID_REUSED
    assert refusal(lambda: ask(sandbox, "LS1 1AB")) is Contradiction.ID_REUSED


def test_the_address_is_not_stored(sandbox: SandboxCarrier, database: FakeDynamoDB) -> None:
    ask(sandbox)

    assert ADDRESS.name not in str(database.items("shipments"))
    assert ADDRESS.street not in str(database.items("shipments"))


def test_nothing_leaves_after_a_recall(sandbox: SandboxCarrier) -> None:
    ask(sandbox)
    sandbox.dispatch("ship_1", PART)

    assert sandbox.recall("ship_1") == Shipment((PART,), recalled=True)
    assert refusal(lambda: sandbox.dispatch("ship_1", Parcel("parcel_2", REST))) is Contradiction.RECALLED
    assert sandbox.recall("ship_1") == Shipment((PART,), recalled=True)


def test_a_recall_before_the_request_makes_it_come_back_recalled(sandbox: SandboxCarrier) -> None:
    sandbox.recall("ship_1")

    assert ask(sandbox) == Shipment(recalled=True)
    assert refusal(lambda: sandbox.dispatch("ship_1", PART)) is Contradiction.RECALLED


def test_a_parcel_leaves_once_and_holds_what_is_there(sandbox: SandboxCarrier) -> None:
    assert refusal(lambda: sandbox.dispatch("ship_1", PART)) is Contradiction.UNKNOWN_SHIPMENT
    ask(sandbox)
    sandbox.dispatch("ship_1", PART)
    sandbox.dispatch("ship_1", PART)

    assert sandbox.undispatched_lines("ship_1") == REST
    assert refusal(lambda: sandbox.dispatch("ship_1", Parcel("parcel_1", REST))) is Contradiction.ID_REUSED
    assert refusal(lambda: sandbox.dispatch("ship_1", Parcel("parcel_2", STOCK))) is Contradiction.LINES_EXCEEDED


def test_a_request_that_was_lost_has_no_effect_until_it_is_repeated(sandbox: SandboxCarrier) -> None:
    with pytest.raises(CarrierTimeout):
        ask(sandbox, "TIMEOUT-BEFORE")

    assert sandbox.look_up("ship_1") is None
    assert ask(sandbox, "TIMEOUT-BEFORE") == Shipment()


def test_a_lost_request_can_be_recalled(sandbox: SandboxCarrier) -> None:
    with pytest.raises(CarrierTimeout):
        ask(sandbox, "TIMEOUT-BEFORE")
    sandbox.recall("ship_1")

    assert ask(sandbox, "TIMEOUT-BEFORE") == Shipment(recalled=True)


def test_an_answer_that_was_lost_can_be_looked_up(sandbox: SandboxCarrier) -> None:
    with pytest.raises(CarrierTimeout):
        ask(sandbox, "TIMEOUT-AFTER")

    assert sandbox.look_up("ship_1") == Shipment()
    assert ask(sandbox, "TIMEOUT-AFTER") == Shipment()


def test_a_recall_whose_answer_was_lost_took_effect(sandbox: SandboxCarrier) -> None:
    ask(sandbox, "RECALL-TIMEOUT-AFTER")

    with pytest.raises(CarrierTimeout):
        sandbox.recall("ship_1")
    assert sandbox.look_up("ship_1") == Shipment(recalled=True)
    assert sandbox.recall("ship_1") == Shipment(recalled=True)


def test_some_shipments_cannot_be_stopped(sandbox: SandboxCarrier) -> None:
    ask(sandbox, "RECALL-IMPOSSIBLE")

    assert sandbox.recall("ship_1") == Shipment()
    sandbox.dispatch("ship_1", PART)


def test_an_unavailable_carrier_takes_nothing(sandbox: SandboxCarrier) -> None:
    with pytest.raises(CarrierUnavailable):
        ask(sandbox, "UNAVAILABLE")
    assert sandbox.look_up("ship_1") is None


def test_a_lost_answer_of_the_store_is_a_time_out(sandbox: SandboxCarrier, database: FakeDynamoDB) -> None:
    def lose(_operation: str, _parameters: object) -> None:
        raise answer_lost()

    database.after = lose
    with pytest.raises(CarrierTimeout):
        ask(sandbox)
    with pytest.raises(CarrierUnavailable):
        sandbox.look_up("ship_1")


def test_of_a_dispatch_and_a_recall_at_once_each_sees_the_other(sandbox: SandboxCarrier) -> None:
    ask(sandbox)
    with ThreadPoolExecutor(2) as pool:
        dispatched, recalled = pool.submit(sandbox.dispatch, "ship_1", PART), pool.submit(sandbox.recall, "ship_1")

    left = () if dispatched.exception() else (PART,)
    assert recalled.result() == Shipment(left, recalled=True)


def test_only_carriers_that_exist_can_be_chosen() -> None:
    assert isinstance(create_carrier("sandbox"), SandboxCarrier)
    with pytest.raises(UnknownCarrier, match="sandbox"):
        create_carrier("pigeon")
