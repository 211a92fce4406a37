"""The second part of `make run`: after the saga, a reviewer, customers and the carrier act on orders until their final state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from devtools.cli import UserError
from devtools.local import reviews, seed
from devtools.local.api_client import ApiClient, state_of, wait_until
from devtools.local.carrier import Carrier
from devtools.local.scenarios import ORDINARY_BODY
from devtools.ops import trial_balance as ledger_balance
from devtools.target import Target
from devtools.web import Answer
from orderflow.domain.money import Money, format_money

# Slow machines need minutes; longer means a failure.
STEP_SECONDS = 600.0
CALL_SECONDS = 60.0
POLL_SECONDS = 0.25
MUG_PRICE = 1250


@dataclass
class ScriptedOrder:
    """An order with the API and carrier that act on it; `customer` has no other orders. `events` are those that were read last.

    Waiting for the order fails after `seconds`.
    """

    api: ApiClient
    carrier: Carrier
    customer: str
    order_id: str = ""
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    seconds: float = STEP_SECONDS

    def place(self, body: dict[str, Any]) -> None:
        """Place the order. Raises UserError where the API rejects it."""
        self.order_id = _accepted("POST /orders", self.api.place(self.customer, body))["order_id"]

    @property
    def document(self) -> dict[str, Any]:
        """The order as its customer reads it."""
        return self.api.order(self.customer, self.order_id).json()

    def refresh(self) -> None:
        """Read the order's events."""
        self.events = self.api.events(self.customer, self.order_id) or self.events

    def wait_for_state(self, state: str) -> None:
        """Wait until the order has a state. Raises UserError after `seconds`."""
        document: dict[str, Any] = {}

        def reached() -> bool:
            document.update(self.document)
            return document.get("state") == state

        if not wait_until(reached, self.seconds, POLL_SECONDS):
            raise UserError(f"{document.get('state')} after {self.seconds:.0f} s, not {state}")
        self.refresh()

    def wait_for_amount(self, name: str, amount: int) -> None:
        """Wait until the order has an amount in minor units, which follows the provider's confirmation."""

        def reached() -> bool:
            money: dict[str, Any] = self.document.get(name) or {}
            return money.get("amount") == amount

        wait_until(reached, self.seconds, POLL_SECONDS)
        self.refresh()

    def place_and_wait_for_shipping(self, body: dict[str, Any]) -> None:
        """Place the order and wait for its shipment request. Raises UserError for an order without one, and after `seconds`."""
        self.place(body)

        def decided() -> bool:
            self.refresh()
            return self._is_shipping or state_of(self.events).startswith(("rejected", "cancelled"))

        in_time = wait_until(decided, self.seconds, POLL_SECONDS)
        if not self._is_shipping:
            waited = "" if in_time else f" after {self.seconds:.0f} s"
            raise UserError(f"no shipment of {self.order_id} was requested: the order is {state_of(self.events)}{waited}")

    @property
    def _is_shipping(self) -> bool:
        return "ShipmentRequested" in [event["type"] for event in self.events]

    def summary(self, *amounts: str) -> str:
        """Return the state and amounts of the order: `delivered, 29.90 EUR captured`."""
        document = self.document
        return ", ".join(
            [document["state"], *(f"{format_money(Money(**document[name]))} {name}" for name in amounts if document.get(name))]
        )


def _accepted(request: str, answer: Answer) -> dict[str, Any]:
    if answer.status >= 400:
        raise UserError(f"{request} answered {answer.status}: {answer.body.decode(errors='replace')}")
    return answer.json()


def deliver_in_two_parcels(order: ScriptedOrder) -> str:
    """Two parcels are dispatched, captured and delivered."""
    order.place_and_wait_for_shipping(ORDINARY_BODY)
    parcels = [order.carrier.dispatch(order.order_id, [("MUG-BLUE", 1)]), order.carrier.dispatch(order.order_id)]
    for parcel in parcels:
        order.carrier.deliver(order.order_id, parcel)
    order.wait_for_state("delivered")
    order.wait_for_amount("captured", order.document["total"]["amount"])
    return order.summary("captured")


def cancel(order: ScriptedOrder) -> str:
    """The customer cancels while the saga runs."""
    order.place(ORDINARY_BODY)
    _accepted("the cancellation", order.api.cancel(order.customer, order.order_id, {"reason": "changed my mind"}))
    order.wait_for_state("cancelled")
    return order.summary()


def return_one(order: ScriptedOrder) -> str:
    """One of two mugs is returned and refunded."""
    order.place_and_wait_for_shipping(ORDINARY_BODY)
    order.carrier.deliver(order.order_id, order.carrier.dispatch(order.order_id))
    order.wait_for_state("delivered")
    body = {"lines": [{"sku": "MUG-BLUE", "quantity": 1}], "reason": "one too many"}
    created = _accepted("the return", order.api.create_return(order.customer, order.order_id, body))
    order.carrier.receive_return(order.order_id, created["return_id"])
    order.wait_for_state("partly_returned")
    order.wait_for_amount("refunded", MUG_PRICE)
    return order.summary("refunded")


def lose(order: ScriptedOrder) -> str:
    """The only parcel is lost, and everything is refunded."""
    order.place_and_wait_for_shipping(ORDINARY_BODY)
    order.carrier.lose(order.order_id, order.carrier.dispatch(order.order_id))
    order.wait_for_state("lost")
    order.wait_for_amount("refunded", order.document["total"]["amount"])
    return order.summary("refunded")


@dataclass(frozen=True)
class Script:
    """The actions on an order, and the result that they must have."""

    what: str
    customer: str
    run: Callable[[ScriptedOrder], str]
    expected: str


SCRIPTS = (
    Script("held, then approved", "una", reviews.approve, "confirmed"),
    Script("delivered in two parcels", "vic", deliver_in_two_parcels, "delivered, EUR 29.90 captured"),
    Script("cancelled during the saga", "wes", cancel, "cancelled"),
    Script("one mug returned", "xia", return_one, "partly_returned, EUR 12.50 refunded"),
    Script("lost by the carrier", "zoe", lose, "lost, EUR 29.90 refunded"),
)


@dataclass(eq=False)
class ScriptRun:
    """A script with its order; `actual` is the result, empty until the script has ended."""

    script: Script
    order: ScriptedOrder
    actual: str = ""

    @property
    def what(self) -> str:
        """The title."""
        return self.script.what

    @property
    def expected(self) -> str:
        """The expected result."""
        return self.script.expected

    @property
    def begun(self) -> bool:
        """Whether its order was placed."""
        return bool(self.order.order_id)

    @property
    def ended(self) -> bool:
        """Whether the script has ended."""
        return bool(self.actual)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of its order that were read last."""
        return self.order.events

    def execute(self) -> None:
        """Run the script; an error is its result."""
        try:
            self.actual = self.script.run(self.order)
        except (UserError, OSError, HTTPException) as error:
            self.actual = " ".join(str(error).split()) or type(error).__name__


def script_runs(target: Target, run: str) -> list[ScriptRun]:
    """Return a run of each script with a customer of its own, who has a history of orders; `run` makes the customer ids unique."""
    api = ApiClient(target, CALL_SECONDS, STEP_SECONDS)
    carrier = Carrier(target, timeout=CALL_SECONDS, patience=STEP_SECONDS)
    found = [ScriptRun(script, ScriptedOrder(api, carrier, f"{script.customer}-{run}")) for script in SCRIPTS]
    seed.add_history(target, [one.order.customer for one in found])
    return found


def trial_balance(target: Target) -> str:
    """Return the trial balance of all currencies together and the number of differences, once there are none or the time is over."""
    answer: dict[str, Any] = {}

    def balanced() -> bool:
        answer.update(ledger_balance.audit(target))
        return not answer["differences"]

    wait_until(balanced, STEP_SECONDS, 1.0)
    sums: Sequence[int] = [one["sum"] for one in answer["balances"].values()]
    return f"balance {sum(map(abs, sums))}, {len(answer['differences'])} differences"
