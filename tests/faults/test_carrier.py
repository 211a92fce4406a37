"""Carrier webhooks in any order, duplicated, and under every fault: each accepted one is recorded once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from orderflow.aws.order_log import OrderLog
from orderflow.domain.order import stock_lines
from shipping.shipments import shipment_id
from tests.faults.conftest import Tally
from tests.faults.faults import Call, Disturbance
from tests.faults.paths import Path, Stage
from tests.faults.simulation import ATTEMPTS, RECORD_QUEUE, NeverAnswered, Simulation
from tests.faults.sweeps import Sweep
from tests.support.prepared import an_order

PATH = "carrier webhooks"
ORDERS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "in order": list,
    "reversed": lambda events: events[::-1],
    "each twice": lambda events: [one for one in events for _ in range(2)],
    "all again later": lambda events: [*events, *events],
}
every_order = pytest.mark.parametrize("order", ORDERS)

CONFIRMED_VERSION = 5  # placed, reserved, screened, authorized, confirmed


@dataclass
class CarrierRun:
    """A confirmed order whose parcel is dispatched and lost, with the carrier and the webhook's queue."""

    simulation: Simulation
    waiting: list[str] = field(default_factory=list[str])
    refused: list[bytes] = field(default_factory=list[bytes])

    def send(self, messages: list[bytes]) -> None:
        """Send each webhook event until it is accepted or the carrier stops retrying, and deliver the queue after each."""
        for body in messages:
            try:
                self.simulation.send(body)
            except NeverAnswered:
                self.refused.append(body)
            self.work(1)

    def work(self, rounds: int = ATTEMPTS) -> None:
        """Deliver the queue until it is empty, at most `rounds` times."""
        self.waiting += [json.dumps(left) for left in self.simulation.aws.sqs.sent.pop(RECORD_QUEUE, [])]
        for _ in range(rounds):
            self.waiting = [body for body in self.waiting if not self.simulation.try_once("ShippingRecord", body)]


def opened(stage: Stage, disturbance: Disturbance, attempts: int = 1) -> CarrierRun:
    """Return a pipeline whose order is confirmed and its shipment requested."""
    simulation = stage.simulation(Path(PATH, "lost"), Disturbance(), attempts)
    an_order(OrderLog("OrderLog", simulation.aws.dynamodb.client), "ord_1").confirmed()
    simulation.disturbance = disturbance
    return CarrierRun(simulation)


def webhook_events(order: str, carrier_run: CarrierRun) -> list[bytes]:
    """Return the webhook events in this order: one parcel with all lines is dispatched, then lost."""
    log = OrderLog("OrderLog", carrier_run.simulation.aws.dynamodb.client)
    disturbance, carrier_run.simulation.disturbance = carrier_run.simulation.disturbance, Disturbance()
    lines = [{"sku": line.sku, "quantity": line.quantity} for line in stock_lines(log.load("ord_1"))]
    carrier_run.simulation.disturbance = disturbance
    about: dict[str, Any] = {"shipment_id": shipment_id("ord_1"), "at": "2026-01-16T09:00:00Z", "parcel_id": "parcel_1"}
    left = about | {"message_id": "msg_1", "type": "dispatched", "lines": lines}
    lost = about | {"message_id": "msg_2", "type": "lost"}
    return ORDERS[order]([json.dumps(one).encode() for one in (left, lost)])


def wrong(carrier_run: CarrierRun) -> list[str]:
    """Resend refused messages without faults, deliver the queue, and return the differences."""
    carrier_run.simulation.disturbance.match = lambda _number, _call: False
    again, carrier_run.refused = carrier_run.refused, []
    carrier_run.send(again)
    carrier_run.work()
    history = OrderLog("OrderLog", carrier_run.simulation.aws.dynamodb.client).history("ord_1")
    recorded = [event.type for event in history[CONFIRMED_VERSION:]]
    found = [] if recorded == ["ShipmentDispatched", "ShipmentLost"] else [f"recorded {recorded}"]
    return [
        *found,
        *(f"still queued: {body}" for body in carrier_run.waiting),
        *(f"never accepted: {body!r}" for body in carrier_run.refused),
    ]


def recorded(stage: Stage, order: str) -> list[Call]:
    """Return the calls of a run without faults, after checking its result."""
    carrier_run = opened(stage, Disturbance())
    carrier_run.send(webhook_events(order, carrier_run))
    carrier_run.work()
    calls = list(carrier_run.simulation.disturbance.calls)
    assert wrong(carrier_run) == []
    return calls


@every_order
def test_single_fault_of_one_call(stage: Stage, tally: Tally, order: str) -> None:
    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        carrier_run = opened(stage, disturbance, attempts)
        carrier_run.send(webhook_events(order, carrier_run))
        carrier_run.work()
        return [f"not accepted: {body!r}" for body in carrier_run.refused] + wrong(carrier_run)

    Sweep(PATH, tally).once(enumerate(recorded(stage, order)), run)


@every_order
@pytest.mark.parametrize("also", ["", "SendMessage", "ShippingRecord"])
def test_persistent_fault_loses_no_accepted_event(stage: Stage, tally: Tally, order: str, also: str) -> None:
    """The order log fails at the webhook, alone or together with the queue or its consumer."""

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        carrier_run = opened(stage, disturbance, attempts)
        carrier_run.send(webhook_events(order, carrier_run))
        carrier_run.work()
        return wrong(carrier_run)

    Sweep(PATH, tally).lasting(recorded(stage, order), run, also)
