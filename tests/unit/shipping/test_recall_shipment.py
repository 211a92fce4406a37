"""The saga step `recall_shipment`: recalls, lost answers and late dispatches."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from orderflow.aws.order_log import OrderNotFound
from orderflow.domain.commands import RecordDispatch
from orderflow.domain.events import ShipmentDispatched, StockLine
from orderflow.domain.order import Order
from shipping.carrier import CarrierTimeout, CarrierUnavailable, Parcel, Shipment
from shipping.handlers import recall_shipment
from shipping.sandbox.carrier import SandboxCarrier
from shipping.shipments import InconsistentShipment, shipment_id
from tests.fakes.aws.dynamodb import Crash
from tests.support.prepared import SAGA_STEPS, advance, place, prepare

EVENTS = Path(__file__).resolve().parents[3] / "events" / "shipping"
SAMPLES = sorted(
    str(path.relative_to(EVENTS).with_suffix("")) for path in EVENTS.glob("recall_shipment/*.json") if ".answer" not in path.name
)
LOG = recall_shipment.LOG
ID = shipment_id("ord_1")
TWO = (StockLine("MUG-BLUE", 2),)
ONE = (StockLine("MUG-BLUE", 1),)
PART = Parcel("parcel_1", ONE)
type Step = Callable[[], str]


@pytest.fixture
def sandbox(aws: Any, monkeypatch: pytest.MonkeyPatch) -> SandboxCarrier:
    carrier = SandboxCarrier("SandboxShipments", aws.dynamodb.client)
    monkeypatch.setattr(recall_shipment, "CARRIER", carrier)
    return carrier


@pytest.fixture
def run(sandbox: SandboxCarrier, context: Any) -> Step:
    return lambda: recall_shipment.handler({"order_id": "ord_1", "correlation_id": "correlation-1"}, context)["outcome"]


def cancelled() -> Order:
    return advance(LOG, "ord_1", "customer.cancels")


def request_shipment(sandbox: SandboxCarrier, order: Order, postal_code: str = "LS1 1AA") -> None:
    sandbox.request(ID, TWO, replace(order.shipping_address, postal_code=postal_code))


def confirmed() -> Order:
    place(LOG)
    return advance(LOG, "ord_1", *SAGA_STEPS)


def types() -> list[str]:
    history = LOG.history("ord_1")
    return [event.type for event in history[[event.type for event in history].index("CancellationRequested") + 1 :]]


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_has_its_answer(sample: str, sandbox: SandboxCarrier, context: Any) -> None:
    event = json.loads((EVENTS / f"{sample}.json").read_text())
    prepare(LOG, event["order_id"])

    assert recall_shipment.handler(event, context) == json.loads((EVENTS / f"{sample}.answer.json").read_text())


def test_shipment_not_requested_yet_is_recalled(run: Step, sandbox: SandboxCarrier) -> None:
    order = confirmed()
    cancelled()

    assert run() == "recalled"
    assert sandbox.look_up(ID) == Shipment(recalled=True)
    assert types() == ["ShipmentRecalled"]
    assert sandbox.request(ID, TWO, order.shipping_address).recalled


def test_unconfirmed_order_makes_no_carrier_call(run: Step, aws: Any) -> None:
    place(LOG)
    advance(LOG, "ord_1", *SAGA_STEPS[:3])
    cancelled()
    aws.dynamodb.calls.clear()

    assert run() == "nothing_to_recall"
    assert aws.dynamodb.calls == {"Query": 1}


def test_unrecorded_dispatch_is_recorded_before_the_recall(run: Step, sandbox: SandboxCarrier) -> None:
    request_shipment(sandbox, confirmed())
    sandbox.dispatch(ID, PART)
    cancelled()

    assert run() == "recalled"
    assert types() == ["ShipmentDispatched", "ShipmentRecalled"]
    dispatched = LOG.history("ord_1")[-2].data
    assert isinstance(dispatched, ShipmentDispatched)
    assert (dispatched.parcel_id, dispatched.lines, dispatched.complete) == ("parcel_1", ONE, False)


def test_recorded_dispatch_is_not_recorded_again(run: Step, sandbox: SandboxCarrier) -> None:
    order = confirmed()
    request_shipment(sandbox, order)
    sandbox.dispatch(ID, PART)
    LOG.record(order, RecordDispatch("parcel_1", ONE), source="shipping")
    cancelled()

    assert run() == "recalled"
    assert types() == ["ShipmentRecalled"]


def test_cancellation_fails_after_everything_was_dispatched(run: Step, sandbox: SandboxCarrier) -> None:
    request_shipment(sandbox, confirmed())
    sandbox.dispatch(ID, Parcel("parcel_1", TWO))
    cancelled()

    assert run() == "too_late"
    assert types() == ["ShipmentDispatched", "CancellationFailed"]
    assert LOG.load("ord_1").state == "dispatched"
    assert run() == "inactive"


def test_cancellation_fails_if_the_recall_is_impossible(run: Step, sandbox: SandboxCarrier) -> None:
    request_shipment(sandbox, confirmed(), "RECALL-IMPOSSIBLE")
    cancelled()

    assert run() == "too_late"
    assert types() == ["CancellationFailed"]
    assert LOG.load("ord_1").state == "confirmed"


def test_lost_answer_is_looked_up(run: Step, sandbox: SandboxCarrier) -> None:
    request_shipment(sandbox, confirmed(), "RECALL-TIMEOUT-AFTER")
    cancelled()

    assert run() == "recalled"
    assert types() == ["ShipmentRecalled"]


def test_recall_lost_without_effect_raises(run: Step, sandbox: SandboxCarrier, monkeypatch: pytest.MonkeyPatch) -> None:
    confirmed()
    cancelled()

    def lose(_shipment_id: str) -> Shipment:
        raise CarrierTimeout

    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "recall", lose)
        with pytest.raises(CarrierTimeout):
            run()
    assert types() == []
    assert run() == "recalled"


def test_unavailable_carrier_raises(run: Step, sandbox: SandboxCarrier, monkeypatch: pytest.MonkeyPatch) -> None:
    confirmed()
    cancelled()

    def refuse(_shipment_id: str) -> Shipment:
        raise CarrierUnavailable

    monkeypatch.setattr(sandbox, "recall", refuse)
    with pytest.raises(CarrierUnavailable):
        run()
    assert types() == []


def test_parcel_with_foreign_lines_is_recorded_and_the_rest_recalled(run: Step, sandbox: SandboxCarrier) -> None:
    order = confirmed()
    sandbox.request(ID, (StockLine("OTHER", 1),), order.shipping_address)
    sandbox.dispatch(ID, Parcel("parcel_1", (StockLine("OTHER", 1),)))
    cancelled()

    assert run() == "recalled"
    assert types() == ["ShipmentReportContradicted", "ShipmentRecalled"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("write", [1, 2])
def test_parcel_with_foreign_lines_is_recorded_once_despite_a_crash(
    run: Step, sandbox: SandboxCarrier, aws: Any, write: int, moment: str
) -> None:
    order = confirmed()
    sandbox.request(ID, (StockLine("OTHER", 1),), order.shipping_address)
    sandbox.dispatch(ID, Parcel("parcel_1", (StockLine("OTHER", 1),)))
    cancelled()
    appends = count(1)

    def crash(operation: str, request: Any) -> None:
        if operation in {"PutItem", "TransactWriteItems"} and "OrderLog" in str(request) and next(appends) == write:
            raise Crash

    setattr(aws.dynamodb, moment, crash)
    with pytest.raises(Crash):
        run()
    setattr(aws.dynamodb, moment, None)
    assert run() == "recalled"
    assert types() == ["ShipmentReportContradicted", "ShipmentRecalled"]


def test_repeated_recall_returns_the_recorded_outcome(run: Step, aws: Any) -> None:
    confirmed()
    cancelled()
    run()
    aws.dynamodb.calls.clear()

    assert run() == "recalled"
    assert aws.dynamodb.calls == {"Query": 1}


@pytest.mark.parametrize("steps", [(), SAGA_STEPS[:1], (*SAGA_STEPS[:2], "orders.handlers.record_failure")])
def test_order_without_cancellation_is_not_recalled(run: Step, steps: tuple[str, ...]) -> None:
    place(LOG)
    advance(LOG, "ord_1", *steps)

    with pytest.raises(InconsistentShipment):
        run()


def test_missing_order_raises(run: Step) -> None:
    with pytest.raises(OrderNotFound):
        run()
