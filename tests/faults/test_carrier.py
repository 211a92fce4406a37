"""The carrier's messages, in any order and each twice: whatever goes wrong at the door or behind it, what was taken is recorded, once."""

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
from tests.faults.sweeps import Sweep
from tests.faults.world import ATTEMPTS, RECORD_QUEUE, NeverAnswered, World
from tests.support.prepared import prepare

PATH = "told by the carrier"
CONFIRM = (
    "inventory.handlers.reserve_stock",
    "fraud.handlers.screen_order",
    "payments.handlers.authorize_payment",
    "orders.handlers.confirm_order",
)
ORDERS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "in order": list,
    "backwards": lambda told: told[::-1],
    "each twice": lambda told: [one for one in told for _ in range(2)],
    "all again later": lambda told: [*told, *told],
}
every_order = pytest.mark.parametrize("order", ORDERS)


@dataclass
class Door:
    """A confirmed order, whose parcel leaves and is lost; the carrier that tells so, and the queue behind its webhook."""

    world: World
    waiting: list[str] = field(default_factory=list[str])
    refused: list[bytes] = field(default_factory=list[bytes])

    def tell(self, messages: list[bytes]) -> None:
        """Have the carrier send each message until it is taken or it gives up, and what is in the queue come after each of them."""
        for body in messages:
            try:
                self.world.send(body)
            except NeverAnswered:
                self.refused.append(body)
            self.work(1)

    def work(self, rounds: int = ATTEMPTS) -> None:
        """Deliver what is waiting until nothing is, or everything came `rounds` times."""
        self.waiting += [json.dumps(left) for left in self.world.aws.sqs.sent.pop(RECORD_QUEUE, [])]
        for _ in range(rounds):
            self.waiting = [body for body in self.waiting if not self.world.try_once("ShippingRecord", body)]


def opened(stage: Stage, disturbance: Disturbance, attempts: int = 1) -> Door:
    """Return a door to a world in which the order of the test is confirmed and shipped for."""
    world = stage.world(Path(PATH, "lost"), Disturbance(), attempts)
    prepare(OrderLog("OrderLog", world.aws.dynamodb.client), "ord_1", *CONFIRM)
    world.disturbance = disturbance
    return Door(world)


def told(order: str, door: Door) -> list[bytes]:
    """Return the messages as they are sent: that everything left in one parcel, and that it is lost."""
    log = OrderLog("OrderLog", door.world.aws.dynamodb.client)
    disturbance, door.world.disturbance = door.world.disturbance, Disturbance()
    lines = [{"sku": line.sku, "quantity": line.quantity} for line in stock_lines(log.load("ord_1"))]
    door.world.disturbance = disturbance
    about: dict[str, Any] = {"shipment_id": shipment_id("ord_1"), "at": "2026-01-16T09:00:00Z", "parcel_id": "parcel_1"}
    left = about | {"message_id": "msg_1", "type": "dispatched", "lines": lines}
    lost = about | {"message_id": "msg_2", "type": "lost"}
    return ORDERS[order]([json.dumps(one).encode() for one in (left, lost)])


def wrong(door: Door) -> list[str]:
    """Return what is wrong once no fault is left: the carrier has sent again what was not taken, and the queue has come to rest."""
    door.world.disturbance.match = lambda _number, _call: False
    again, door.refused = door.refused, []
    door.tell(again)
    door.work()
    history = OrderLog("OrderLog", door.world.aws.dynamodb.client).history("ord_1")
    recorded = [event.type for event in history[len(CONFIRM) + 1 :]]
    found = [] if recorded == ["ShipmentDispatched", "ShipmentLost"] else [f"recorded {recorded}"]
    return [*found, *(f"still waiting: {body}" for body in door.waiting), *(f"never taken: {body!r}" for body in door.refused)]


def recorded(stage: Stage, order: str) -> list[Call]:
    """Return the calls of a run in which nothing goes wrong, after making sure that nothing did."""
    door = opened(stage, Disturbance())
    door.tell(told(order, door))
    door.work()
    calls = list(door.world.disturbance.calls)
    assert wrong(door) == []
    return calls


@every_order
def test_one_call_goes_wrong_once(stage: Stage, tally: Tally, order: str) -> None:
    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        door = opened(stage, disturbance, attempts)
        door.tell(told(order, door))
        door.work()
        return [f"not taken: {body!r}" for body in door.refused] + wrong(door)

    Sweep(PATH, tally).once(enumerate(recorded(stage, order)), run)


@every_order
@pytest.mark.parametrize("beside", ["", "SendMessage", "ShippingRecord"])
def test_a_kind_of_call_goes_wrong_for_long(stage: Stage, tally: Tally, order: str, beside: str) -> None:
    """The log at the door, and with it the queue behind the door, or what works the queue off: nothing that was answered 202 is lost."""

    def run(disturbance: Disturbance, attempts: int) -> list[str]:
        door = opened(stage, disturbance, attempts)
        door.tell(told(order, door))
        door.work()
        return wrong(door)

    Sweep(PATH, tally).lasting(recorded(stage, order), run, beside)
