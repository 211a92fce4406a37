"""The paths of an order, each a run from the client's request to a resting state."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

import shipping.dependencies
from fraud.domain import fraud_rules
from fraud.domain.fraud_rules import FraudFlags
from fraud.handlers import screen_order
from inventory.handlers import expire_reservations
from operations.handlers import recover_orders
from orderflow.aws import dynamodb, order_log
from orderflow.domain import events
from orderflow.domain.events import StockLine
from orders.catalogue import Catalogue
from orders.domain import pricing
from orders.handlers import place_order
from payments import dependencies
from payments.handlers import authorize_payment, settle_payment, void_payment
from payments.sandbox import provider
from shipping.carrier import CarrierRefused, Parcel
from shipping.domain.carrier_events import CarrierEvent, Delivered, Dispatched, Lost, Returned
from shipping.handlers import recall_shipment
from shipping.handlers import request_shipment as shipping_request
from shipping.shipments import shipment_id
from tests.faults import reviews
from tests.faults.faults import Disturbance, FaultyProvider
from tests.faults.simulation import Functions, Simulation, real_functions
from tests.support import samples

if TYPE_CHECKING:
    import pytest

MUGS = ({"sku": "MUG-BLUE", "quantity": 2}, {"sku": "FILTER-100", "quantity": 1})
LENIENT = fraud_rules.Thresholds(weights=fraud_rules.Weights(new_customer=0))
REFUSING = fraud_rules.Thresholds(hold_score=5, refuse_score=10)
type Patch = Callable[[Any, str, Any], None]
type Step = Callable[[Simulation, str], None]


@dataclass(frozen=True)
class Path:
    """A customer's request, the persistent faults, and the expected end state.

    `decided` is the decision on a held order, which may come after its reservation has `expired`; without one the review
    times out. `cancelled` is the state in which the customer cancels the order; the carrier has then dispatched the
    `unreported` lines without a webhook. `postal_code` selects the carrier's simulated fault. `fulfilment` are the steps of a
    confirmed order before any cancellation; each step can be repeated.
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
    unreported: tuple[StockLine, ...] = ()
    postal_code: str = "LS1 1AA"
    fulfilment: tuple[Step, ...] = ()

    @property
    def starts_with_confirmation(self) -> bool:
        """Return whether the path starts with the same confirmation as the first path."""
        return bool(self.fulfilment) or self.cancelled == "confirmed"


def dispatches(parcel_id: str, *lines: StockLine) -> Step:
    """Dispatch a parcel with these lines and send the carrier's webhook."""

    def run(simulation: Simulation, order_id: str) -> None:
        dispatch_unreported(simulation, order_id, lines, parcel_id)
        report_parcel(simulation, order_id, Dispatched, parcel_id, lines=lines)

    return run


def delivers(parcel_id: str) -> Step:
    """Send the carrier's webhook of a delivered parcel."""
    return lambda simulation, order_id: report_parcel(simulation, order_id, Delivered, parcel_id)


def loses(parcel_id: str) -> Step:
    """Send the carrier's webhook of a lost parcel."""
    return lambda simulation, order_id: report_parcel(simulation, order_id, Lost, parcel_id)


def returns(*lines: StockLine, customer: str = "ann") -> Step:
    """Create a return and send the carrier's webhook of its receipt."""

    def run(simulation: Simulation, order_id: str) -> None:
        answer = simulation.create_return(returning(order_id, lines, customer))
        if answer["statusCode"] == 201:
            return_id = json.loads(answer["body"])["return_id"]
            send_until_accepted(
                simulation,
                Returned(message_id=f"msg_{return_id}", shipment_id=shipment_id(order_id), at=carrier_time(), return_id=return_id),
            )

    return run


def carrier_time() -> str:
    """Return the carrier's current time."""
    return datetime.now(UTC).isoformat()


MUG, BOTH_MUGS, FILTERS = StockLine("MUG-BLUE", 1), StockLine("MUG-BLUE", 2), StockLine("FILTER-100", 1)

PATHS = (
    Path("confirmed", "confirmed"),
    Path("lost request to the provider", "confirmed", token="tok_timeout_before"),
    Path("lost answer of the provider", "confirmed", token="tok_timeout_after"),
    Path("out of stock", "rejected", lines=({"sku": "MUG-BLUE", "quantity": 1}, {"sku": "SOLD-OUT-LAMP", "quantity": 1})),
    Path("refused by fraud rules", "rejected", rules=REFUSING),
    Path("declined", "rejected", token="tok_declined"),
    Path("held for review", "held", lines=({"sku": "ESPRESSO-PRO", "quantity": 1},)),
    Path("approved by a reviewer", "confirmed", lines=({"sku": "ESPRESSO-PRO", "quantity": 1},), decided=reviews.APPROVE),
    Path("expired while held", "confirmed", lines=({"sku": "ESPRESSO-PRO", "quantity": 1},), expired=True, decided=reviews.APPROVE),
    Path("rejected by a reviewer", "rejected", lines=({"sku": "ESPRESSO-PRO", "quantity": 1},), decided=reviews.REJECT),
    Path("review timed out", "rejected", lines=({"sku": "ESPRESSO-PRO", "quantity": 1},), decided=reviews.NOTHING),
    Path("cancelled at once", "cancelled", cancelled="placed"),
    Path("cancelled while held", "cancelled", lines=({"sku": "ESPRESSO-PRO", "quantity": 1},), cancelled="held"),
    Path("cancelled after confirmation", "cancelled", cancelled="confirmed"),
    Path("cancelled after a partial dispatch", "dispatched", cancelled="confirmed", unreported=(StockLine("MUG-BLUE", 1),)),
    Path("lost request to the carrier", "confirmed", postal_code="TIMEOUT-BEFORE"),
    Path("lost answer of the carrier, cancelled", "cancelled", cancelled="confirmed", postal_code="RECALL-TIMEOUT-AFTER"),
    Path("provider unavailable", "rejected", token="tok_unavailable"),
    Path("screening broken", "rejected", broken=frozenset({"FraudScreen"})),
    Path("confirming broken", "rejected", broken=frozenset({"OrdersConfirm"})),
    Path(
        "delivered in two parcels",
        "delivered",
        fulfilment=(dispatches("parcel_1", MUG), dispatches("parcel_2", MUG, FILTERS), delivers("parcel_2"), delivers("parcel_1")),
    ),
    Path(
        "lost and refunded",
        "lost",
        token="tok_capture_timeout_after",
        fulfilment=(dispatches("parcel_1", BOTH_MUGS, FILTERS), loses("parcel_1")),
    ),
    Path(
        "returned and refunded",
        "partly_returned",
        token="tok_refund_timeout_before",
        fulfilment=(dispatches("parcel_1", BOTH_MUGS, FILTERS), delivers("parcel_1"), returns(MUG)),
    ),
    Path(
        "lost, and the first refund fails",
        "lost",
        token="tok_refund_fails_once",
        fulfilment=(dispatches("parcel_1", BOTH_MUGS, FILTERS), loses("parcel_1")),
    ),
    Path("rest cancelled after a partial dispatch", "dispatched", cancelled="partly_dispatched", fulfilment=(dispatches("parcel_1", MUG),)),
)


def request(path: Path, customer: str = "ann", key: str = "key-1") -> Any:
    """Return the path's `POST /orders`."""
    event = samples.sample("orders/place_order/accepted")
    event["headers"]["Idempotency-Key"] = key
    event["requestContext"]["authorizer"] |= {"customer_id": customer, "email": f"{customer}@example.com"}
    body = json.loads(event["body"]) | {"lines": path.lines, "payment": {"token": path.token, "country": "GB"}}
    body["shipping_address"]["postal_code"] = path.postal_code
    event["body"] = json.dumps(body)
    return event


def cancellation(order_id: str, customer: str = "ann") -> Any:
    """Return the request that cancels an order."""
    event = samples.sample("orders/cancel_order/placed")
    event["pathParameters"]["order_id"] = order_id
    event["requestContext"]["authorizer"] |= {"customer_id": customer}
    return event


def returning(order_id: str, lines: tuple[StockLine, ...], customer: str = "ann") -> Any:
    """Return the request that creates a return."""
    event = samples.sample("orders/create_return/created")
    event["pathParameters"]["order_id"] = order_id
    event["requestContext"]["authorizer"] |= {"customer_id": customer}
    event["body"] = json.dumps({"lines": [{"sku": line.sku, "quantity": line.quantity} for line in lines], "reason": "too small"})
    return event


@dataclass
class Stage:
    """Creates simulated pipelines and configures the functions for each run."""

    patch: pytest.MonkeyPatch
    functions: Functions = field(default_factory=real_functions)
    post_fulfilment_from: int = 0

    def __post_init__(self) -> None:
        """Skip all pauses, and treat every active order as stuck and every reservation as expired."""
        # Decoded events are immutable, so they are cached.
        self.patch.setattr(events, "decode", lru_cache(1000)(events.decode))
        self.patch.setattr(dynamodb.time, "sleep", lambda _: None)
        self.patch.setattr(provider.time, "sleep", lambda _: None)
        self.patch.setattr(recover_orders, "STUCK_AFTER", timedelta(days=-1))
        self.patch.setattr(expire_reservations, "RESERVATION_TIME", timedelta(days=-1))

    def simulation(self, path: Path, disturbance: Disturbance | None = None, attempts: int = 1) -> Simulation:
        """Return a pipeline for a run of the path."""
        simulation = Simulation(self.functions, disturbance or Disturbance(), attempts, set(path.broken))
        self.patch.setattr(place_order.PLACEMENT, "catalogue", Catalogue("Catalogue", simulation.aws.dynamodb.client, 60))
        # The flags are cached, as for nearly every order; test_flags.py tests reading them.
        self.patch.setattr(screen_order, "FLAGS", lambda: FraudFlags(fraud=path.rules))
        watched = FaultyProvider(PROVIDER, simulation.around_provider)
        for module in (authorize_payment, settle_payment, void_payment):
            self._replace(module, watched)
        for module in (recall_shipment, shipping_request):
            self.patch.setattr(module, "CARRIER", FaultyProvider(CARRIER, simulation.around_carrier))
        return simulation

    def _replace(self, module: ModuleType, provider: FaultyProvider) -> None:
        self.patch.setattr(module, "PROVIDER", provider)


PROVIDER = dependencies.PROVIDER
CARRIER: Any = shipping.dependencies.CARRIER


def begin(simulation: Simulation, path: Path, customer: str = "ann", key: str = "key-1") -> str:
    """Place the path's order, process all consequences, and return the order's id."""
    simulation.post(request(path, customer, key))
    order_id = pricing.order_id(customer, key)
    if path.cancelled == "placed":
        simulation.cancel(cancellation(order_id, customer))
    simulation.process_all()
    if path.expired:
        simulation.expire()
    if path.decided:
        reviews.decide(simulation, order_id, path.decided)
    run_fulfilment(simulation, path, order_id)
    if path.unreported:
        dispatch_unreported(simulation, order_id, path.unreported)
    if path.cancelled and path.cancelled != "placed":
        cancel(simulation, order_id, path.cancelled, customer)
    return order_id


def run_fulfilment(simulation: Simulation, path: Path, order_id: str) -> None:
    """Run the path's fulfilment steps that the order's state allows, and process all consequences."""
    simulation.post_fulfilment_from = len(simulation.disturbance.calls)
    for step in path.fulfilment:
        step(simulation, order_id)
        simulation.process_all()


def report_parcel(simulation: Simulation, order_id: str, kind: type[Dispatched | Delivered | Lost], parcel_id: str, **more: Any) -> None:
    """Send the carrier's webhook of the unreported parcel, if there is one."""
    disturbance, simulation.disturbance = simulation.disturbance, Disturbance()
    shipment = CARRIER.look_up(shipment_id(order_id))
    simulation.disturbance = disturbance
    if shipment and parcel_id in {parcel.parcel_id for parcel in shipment.parcels}:
        message_id = f"msg_{kind.__name__}_{parcel_id}"
        send_until_accepted(
            simulation, kind(message_id=message_id, shipment_id=shipment_id(order_id), at=carrier_time(), parcel_id=parcel_id, **more)
        )


def send_until_accepted(simulation: Simulation, message: CarrierEvent) -> None:
    """Send the carrier's message until it is accepted."""
    simulation.deliver_webhook(msgspec.json.encode(message))


def dispatch_unreported(simulation: Simulation, order_id: str, lines: tuple[StockLine, ...], parcel_id: str = "parcel_1") -> None:
    """Dispatch these lines at the carrier, if a shipment was requested."""
    disturbance, simulation.disturbance = simulation.disturbance, Disturbance()
    with suppress(CarrierRefused):
        CARRIER.dispatch(shipment_id(order_id), Parcel(parcel_id, lines))
    simulation.disturbance = disturbance


def cancel(simulation: Simulation, order_id: str, state: str, customer: str = "ann") -> None:
    """Cancel the customer's order in this state, and process all consequences."""
    disturbance, simulation.disturbance = simulation.disturbance, Disturbance()
    order = order_log.OrderLog("OrderLog", simulation.aws.dynamodb.client).load(order_id)
    simulation.disturbance = disturbance
    if order.state == state:
        simulation.cancel(cancellation(order_id, customer))
    simulation.process_all()


def finish(simulation: Simulation, path: Path) -> None:
    """Remove all faults and recover the active orders."""
    simulation.disturbance.match = lambda _number, _call: False
    simulation.broken.clear()
    simulation.publish()
    simulation.process_all()
    simulation.redrive()
    simulation.reviews.redrive()
    simulation.process_all()
    simulation.sweep()
    for item in simulation.aws.dynamodb.items("OrderLog"):
        if item["version"]["N"] == "1" and path.decided:
            reviews.decide(simulation, item["order_id"]["S"], path.decided)
        if item["version"]["N"] == "1":
            run_fulfilment(simulation, path, item["order_id"]["S"])
        if item["version"]["N"] == "1" and path.cancelled:
            cancel(simulation, item["order_id"]["S"], path.cancelled)
    simulation.sweep()
