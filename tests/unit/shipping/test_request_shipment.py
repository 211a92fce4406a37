"""The consumer `request_shipment`: one shipment per order, with repeated, late and lost messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orderflow.domain.events import StockLine
from shipping.carrier import Shipment
from shipping.handlers import request_shipment
from shipping.sandbox.carrier import SandboxCarrier
from shipping.shipments import shipment_id
from tests.support.prepared import PREPARED, SAGA_STEPS, advance, place, prepare

EVENTS = Path(__file__).resolve().parents[3] / "events" / "shipping" / "request_shipment"
SAMPLES = sorted(path.stem for path in EVENTS.glob("*.json") if not path.stem.endswith(".answer"))
LOG = request_shipment.LOG
ID = shipment_id("ord_1")
type Run = Callable[[], bool]


@pytest.fixture
def sandbox(aws: Any, monkeypatch: pytest.MonkeyPatch) -> SandboxCarrier:
    carrier = SandboxCarrier("SandboxShipments", aws.dynamodb.client)
    monkeypatch.setattr(request_shipment, "CARRIER", carrier)
    return carrier


@pytest.fixture
def run(sandbox: SandboxCarrier, context: Any) -> Run:
    body = json.dumps({"detail": {"order_id": "ord_1", "correlation_id": "c", "event_id": "ord_1:5"}})
    message = {"messageId": "m", "body": body, "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"}
    return lambda: not request_shipment.handler({"Records": [message]}, context)["batchItemFailures"]


def place_and_confirm(postal_code: str = "LS1 1AA") -> None:
    place(LOG, postal_code=postal_code)
    advance(LOG, "ord_1", *SAGA_STEPS)


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_has_its_answer(sample: str, sandbox: SandboxCarrier, context: Any) -> None:
    text = (EVENTS / f"{sample}.json").read_text()
    for order_id in (one for one in PREPARED if one in text):
        prepare(LOG, order_id)

    assert request_shipment.handler(json.loads(text), context) == json.loads((EVENTS / f"{sample}.answer.json").read_text())


def test_shipment_request_has_the_ordered_lines(run: Run, sandbox: SandboxCarrier) -> None:
    place_and_confirm()

    assert run()
    assert LOG.load("ord_1").shipment == "requested"
    assert sandbox.undispatched_lines(ID) == (StockLine("MUG-BLUE", 2),)


def test_shipment_is_requested_once(run: Run, aws: Any) -> None:
    place_and_confirm()
    run()
    aws.dynamodb.calls.clear()

    assert run()
    assert aws.dynamodb.calls == {"Query": 1}


@pytest.mark.parametrize("postal_code", ["TIMEOUT-BEFORE", "TIMEOUT-AFTER"])
def test_lost_request_is_repeated(run: Run, postal_code: str) -> None:
    place_and_confirm(postal_code)
    run()

    assert run()
    assert LOG.load("ord_1").shipment == "requested"


def test_unavailable_carrier_leaves_the_message_for_retry(run: Run) -> None:
    place_and_confirm("UNAVAILABLE")

    assert not run()
    assert LOG.load("ord_1").shipment == "none"


def test_order_under_cancellation_is_not_shipped(run: Run, sandbox: SandboxCarrier) -> None:
    place_and_confirm()
    advance(LOG, "ord_1", "customer.cancels")

    assert run()
    assert sandbox.look_up(ID) is None


def test_request_after_a_recall_has_no_effect(run: Run, sandbox: SandboxCarrier) -> None:
    place_and_confirm()
    sandbox.recall(ID)

    assert not run()
    assert LOG.load("ord_1").shipment == "none"
    assert sandbox.look_up(ID) == Shipment(recalled=True)


def test_unconfirmed_order_is_not_shipped(run: Run, sandbox: SandboxCarrier) -> None:
    place(LOG)

    assert run()
    assert sandbox.look_up(ID) is None
