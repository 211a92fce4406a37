"""The ways that an order can take, each as a run from the client's request to rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any

import shipping.steps
from fraud import rules, screen
from inventory import expire
from operations import sweep
from orderflow import log
from orderflow.events import StockLine
from orders import place, pricing
from orders.catalogue import Catalogue
from payments import authorize, sandbox, steps, void
from shipping import recall
from shipping import request as shipping_request
from shipping.carrier import CarrierRefused, Parcel
from shipping.shipments import shipment_id
from tests.faults.faults import Disturbance, Watched
from tests.faults.world import Functions, World, real
from tests.support import samples

if TYPE_CHECKING:
    import pytest

MUGS = ({"sku": "MUG-BLUE", "quantity": 2}, {"sku": "FILTER-100", "quantity": 1})
LENIENT = rules.parse('{"weights": {"new_customer": 0}}')
REFUSING = rules.parse('{"hold_score": 5, "refuse_score": 10}')
type Patch = Callable[[Any, str, Any], None]


@dataclass(frozen=True)
class Path:
    """What a customer asks for, what is broken all the time, and how the order ends.

    `decided` is what a person says to a held order, maybe after its reservation has `expired`: approve, reject, or nothing
    until the time is over. `cancelled` is the state in which the customer cancels it.
    Of what the carrier has fetched then, `left` is on its way, and nobody knows yet. `postal_code` says how the carrier behaves.
    """

    name: str
    ends: str
    lines: tuple[dict[str, Any], ...] = MUGS
    token: str = "tok_approved"
    rules: Any = LENIENT
    broken: frozenset[str] = frozenset()
    expired: bool = False
    decided: str = ""
    cancelled: str = ""
    left: tuple[StockLine, ...] = ()
    postal_code: str = "LS1 1AA"


PATHS = (
    Path("confirmed", "confirmed"),
    Path("lost request to the provider", "confirmed", token="tok_timeout_before"),
    Path("lost answer of the provider", "confirmed", token="tok_timeout_after"),
    Path("out of stock", "rejected", lines=({"sku": "MUG-BLUE", "quantity": 1}, {"sku": "SOLD-OUT-LAMP", "quantity": 1})),
    Path("refused by fraud rules", "rejected", rules=REFUSING),
    Path("declined", "rejected", token="tok_declined"),
    Path("held for review", "held", lines=({"sku": "ESPRESSO-PRO", "quantity": 1},)),
    Path("let go by a person", "confirmed", lines=({"sku": "ESPRESSO-PRO", "quantity": 1},), decided="approve"),
    Path("expired while held", "confirmed", lines=({"sku": "ESPRESSO-PRO", "quantity": 1},), expired=True, decided="approve"),
    Path("turned down by a person", "rejected", lines=({"sku": "ESPRESSO-PRO", "quantity": 1},), decided="reject"),
    Path("nobody decides", "rejected", lines=({"sku": "ESPRESSO-PRO", "quantity": 1},), decided="nothing"),
    Path("cancelled at once", "cancelled", cancelled="placed"),
    Path("cancelled while held", "cancelled", lines=({"sku": "ESPRESSO-PRO", "quantity": 1},), cancelled="held"),
    Path("cancelled after confirmation", "cancelled", cancelled="confirmed"),
    Path("cancelled after a part left", "dispatched", cancelled="confirmed", left=(StockLine("MUG-BLUE", 1),)),
    Path("lost request to the carrier", "confirmed", postal_code="TIMEOUT-BEFORE"),
    Path("lost answer of the carrier, cancelled", "cancelled", cancelled="confirmed", postal_code="RECALL-TIMEOUT-AFTER"),
    Path("provider unavailable", "rejected", token="tok_unavailable"),
    Path("screening broken", "rejected", broken=frozenset({"FraudScreen"})),
    Path("confirming broken", "rejected", broken=frozenset({"OrdersConfirm"})),
)


def request(path: Path, customer: str = "ann", key: str = "key-1") -> Any:
    """Return the path's `POST /orders`."""
    event = samples.sample("orders/place/accepted")
    event["headers"]["Idempotency-Key"] = key
    event["requestContext"]["authorizer"] |= {"customer_id": customer, "email": f"{customer}@example.com"}
    body = json.loads(event["body"]) | {"lines": path.lines, "payment": {"token": path.token, "country": "GB"}}
    body["shipping_address"]["postal_code"] = path.postal_code
    event["body"] = json.dumps(body)
    return event


def cancellation(order_id: str, customer: str = "ann") -> Any:
    """Return the request that cancels an order."""
    event = samples.sample("orders/cancel/placed")
    event["pathParameters"]["order_id"] = order_id
    event["requestContext"]["authorizer"] |= {"customer_id": customer}
    return event


@dataclass
class Stage:
    """Makes worlds for runs and sets the functions up as each run needs them."""

    patch: pytest.MonkeyPatch
    functions: Functions = field(default_factory=real)

    def __post_init__(self) -> None:
        """Wait for nothing, and have every open order taken for stuck and every reservation for old."""
        self.patch.setattr(log.time, "sleep", lambda _: None)
        self.patch.setattr(sandbox.time, "sleep", lambda _: None)
        self.patch.setattr(sweep, "STUCK_AFTER", timedelta(days=-1))
        self.patch.setattr(expire, "KEPT_FOR", timedelta(days=-1))

    def world(self, path: Path, disturbance: Disturbance | None = None, attempts: int = 1) -> World:
        """Return a world in which a run of the path can begin."""
        world = World(self.functions, disturbance or Disturbance(), attempts, set(path.broken))
        self.patch.setattr(place, "CATALOGUE", Catalogue("Catalogue", world.aws.dynamodb.client, 60))
        self.patch.setattr(screen, "THRESHOLDS", path.rules)
        watched = Watched(PROVIDER, world.around_provider)
        for module in (authorize, void):
            self._replace(module, watched)
        for module in (recall, shipping_request):
            self.patch.setattr(module, "CARRIER", Watched(CARRIER, world.around_carrier))
        return world

    def _replace(self, module: ModuleType, provider: Watched) -> None:
        self.patch.setattr(module, "PROVIDER", provider)


PROVIDER = steps.PROVIDER
CARRIER: Any = shipping.steps.CARRIER


def begin(world: World, path: Path, customer: str = "ann", key: str = "key-1") -> str:
    """Place the path's order, let everything follow that follows by itself, and return the order's id."""
    world.post(request(path, customer, key))
    order_id = pricing.order_id(customer, key)
    if path.cancelled == "placed":
        world.cancel(cancellation(order_id, customer))
    world.settle()
    if path.expired:
        world.expire()
    if path.decided:
        decide(world, order_id, path.decided)
    if path.left:
        leave(world, order_id, path.left)
    if path.cancelled and path.cancelled != "placed":
        cancel(world, order_id, path.cancelled, customer)
    return order_id


def decide(world: World, order_id: str, decision: str) -> None:
    """Have a person decide on a held order, or nobody until the time is over, and let everything follow."""
    if decision == "nothing":
        world.reviews.time_out()
        world.reviews.time_out()
    else:
        world.reviews.decide(order_id, decision)
    world.settle()


def leave(world: World, order_id: str, lines: tuple[StockLine, ...]) -> None:
    """Have the carrier bring these lines on their way, if it was asked to."""
    disturbance, world.disturbance = world.disturbance, Disturbance()
    with suppress(CarrierRefused):
        CARRIER.dispatch(shipment_id(order_id), Parcel("parcel_1", lines))
    world.disturbance = disturbance


def cancel(world: World, order_id: str, state: str, customer: str = "ann") -> None:
    """Have the customer cancel an order that is in this state, and let everything follow."""
    disturbance, world.disturbance = world.disturbance, Disturbance()
    order = log.OrderLog("OrderLog", world.aws.dynamodb.client).load(order_id)
    world.disturbance = disturbance
    if order.state == state:
        world.cancel(cancellation(order_id, customer))
    world.settle()


def finish(world: World, path: Path) -> None:
    """End all faults and let the sweeper bring what is still open to rest; broken functions are repaired."""
    world.disturbance.match = lambda _number, _call: False
    world.broken.clear()
    world.publish()
    world.settle()
    world.redrive()
    world.reviews.redrive()
    world.settle()
    world.sweep()
    for item in world.aws.dynamodb.items("OrderLog"):
        if item["version"]["N"] == "1" and path.decided:
            decide(world, item["order_id"]["S"], path.decided)
        if item["version"]["N"] == "1" and path.cancelled:
            cancel(world, item["order_id"]["S"], path.cancelled)
    world.sweep()
