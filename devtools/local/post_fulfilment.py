"""The second part of `make run`: after the saga a reviewer, customers and the carrier act, and each order is followed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from devtools.cli import UserError
from devtools.local import seed
from devtools.local.api_client import ApiClient, order_body, wait_until
from devtools.local.carrier import Carrier
from devtools.local.scenarios import ORDINARY_BODY
from devtools.ops import trial_balance as ledger_balance
from devtools.target import Target
from orderflow.domain.money import Money, format_money

REVIEWER = "rex"
# A machine may be slow: what takes this long is broken.
STEP_SECONDS = 600.0
CALL_SECONDS = 60.0
POLL_SECONDS = 0.25


@dataclass
class ScriptedOrder:
    """One order and those who act on it; `customer` is of this run alone. `events` are those that were last seen."""

    shop: ApiClient
    carrier: Carrier
    customer: str
    order_id: str = ""
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def place(self, body: dict[str, Any]) -> None:
        """Place the order. Raises UserError where it is not accepted."""
        answer = self.shop.place(self.customer, body)
        if answer.status != 201:
            raise UserError(f"POST /orders answered {answer.status}: {answer.body.decode(errors='replace')}")
        self.order_id = answer.json()["order_id"]

    @property
    def order(self) -> dict[str, Any]:
        """The order as its owner sees it."""
        return self.shop.order(self.customer, self.order_id).json()

    def refresh(self) -> None:
        """Read its timeline."""
        self.events = self.shop.events(self.customer, self.order_id) or self.events

    def wait_for_state(self, state: str) -> None:
        """Wait until the order is in a state. Raises UserError where it does not get there."""
        order: dict[str, Any] = {}

        def there() -> bool:
            order.update(self.order)
            return order.get("state") == state

        if not wait_until(there, STEP_SECONDS, POLL_SECONDS):
            raise UserError(f"{order.get('state')} after {STEP_SECONDS:.0f} s, not {state}")
        self.refresh()

    def place_and_wait_for_shipping(self, body: dict[str, Any]) -> None:
        """Place the order and wait until the carrier has been asked for it. Raises UserError where it is not."""
        self.place(body)

        def asked() -> bool:
            self.refresh()
            return "ShipmentRequested" in [event["type"] for event in self.events]

        if not wait_until(asked, STEP_SECONDS, POLL_SECONDS):
            raise UserError(f"the carrier was not asked for it within {STEP_SECONDS:.0f} s")

    def summary(self, *amounts: str) -> str:
        """The state, and amounts of the order's document: `delivered, 29.90 EUR captured`."""
        order = self.order
        return ", ".join([order["state"], *(f"{format_money(Money(**order[name]))} {name}" for name in amounts if order.get(name))])


def approve(order: ScriptedOrder) -> str:
    """A person lets a held order go on."""
    order.place(order_body(("ESPRESSO-PRO", 1)))
    order.wait_for_state("held")
    body = json.dumps({"decision": "approve", "note": "known customer"}).encode()
    path = f"/reviews/{order.order_id}/decision"
    # The review may begin a moment after the order is held; 409 is the repetition of what was taken.
    wait_until(lambda: order.shop.call("POST", path, REVIEWER, body=body).status in {200, 409}, STEP_SECONDS, POLL_SECONDS)
    order.wait_for_state("confirmed")
    return order.summary()


def deliver_in_two_parcels(life: ScriptedOrder) -> str:
    """The order leaves in two parcels, each paid for when it leaves, and arrives."""
    life.place_and_wait_for_shipping(ORDINARY_BODY)
    parcels = [life.carrier.dispatch(life.order_id, [("MUG-BLUE", 1)]), life.carrier.dispatch(life.order_id)]
    for parcel in parcels:
        life.carrier.deliver(life.order_id, parcel)
    life.wait_for_state("delivered")
    return _wait_for_amount(life, "captured")


def cancel(life: ScriptedOrder) -> str:
    """Its customer cancels while the saga runs."""
    life.place(ORDINARY_BODY)
    answer = life.shop.cancel(life.customer, life.order_id, {"reason": "changed my mind"})
    if answer.status >= 400:
        raise UserError(f"the cancellation was answered with {answer.status}: {answer.body.decode(errors='replace')}")
    life.wait_for_state("cancelled")
    return life.summary()


def return_one(life: ScriptedOrder) -> str:
    """One of two mugs comes back and is paid back."""
    life.place_and_wait_for_shipping(ORDINARY_BODY)
    life.carrier.deliver(life.order_id, life.carrier.dispatch(life.order_id))
    life.wait_for_state("delivered")
    answer = life.shop.create_return(
        life.customer, life.order_id, {"lines": [{"sku": "MUG-BLUE", "quantity": 1}], "reason": "one too many"}
    )
    if answer.status != 201:
        raise UserError(f"the return was answered with {answer.status}: {answer.body.decode(errors='replace')}")
    life.carrier.receive_return(life.order_id, answer.json()["return_id"])
    life.wait_for_state("partly_returned")
    return _wait_for_amount(life, "refunded")


def lose(life: ScriptedOrder) -> str:
    """The only parcel does not arrive, and everything is paid back."""
    life.place_and_wait_for_shipping(ORDINARY_BODY)
    life.carrier.lose(life.order_id, life.carrier.dispatch(life.order_id))
    life.wait_for_state("lost")
    return _wait_for_amount(life, "refunded")


def _wait_for_amount(life: ScriptedOrder, amount: str) -> str:
    """Wait until the provider's part, which follows, is on the log too."""
    total = life.order["total"]["amount"]
    wanted = {"captured": total, "refunded": 1250 if life.order["state"] == "partly_returned" else total}[amount]

    def there() -> bool:
        money: dict[str, Any] = life.order.get(amount) or {}
        return money.get("amount") == wanted

    wait_until(there, STEP_SECONDS, POLL_SECONDS)
    life.refresh()
    return life.summary(amount)


@dataclass(frozen=True)
class Script:
    """What happens to an order, and what must come of it."""

    what: str
    customer: str
    run: Callable[[ScriptedOrder], str]
    expected: str


SCRIPTS = (
    Script("held, and approved", "una", approve, "confirmed"),
    Script("in two parcels", "vic", deliver_in_two_parcels, "delivered, EUR 29.90 captured"),
    Script("cancelled under way", "wes", cancel, "cancelled"),
    Script("one mug sent back", "xia", return_one, "partly_returned, EUR 12.50 refunded"),
    Script("lost by the carrier", "zoe", lose, "lost, EUR 29.90 refunded"),
)


@dataclass(eq=False)
class ScriptRun:
    """A story and its order; `actual` is what came of it, once it is over."""

    script: Script
    life: ScriptedOrder
    actual: str = ""

    @property
    def what(self) -> str:
        """What it is about."""
        return self.script.what

    @property
    def expected(self) -> str:
        """What must come of it."""
        return self.script.expected

    @property
    def begun(self) -> bool:
        """Whether its order was placed."""
        return bool(self.life.order_id)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return bool(self.actual)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What of its order's events was last seen."""
        return self.life.events

    def execute(self) -> None:
        """Let it happen."""
        try:
            self.actual = self.script.run(self.life)
        except (UserError, OSError, HTTPException) as error:
            self.actual = " ".join(str(error).split()) or type(error).__name__


def script_runs(target: Target, run: str) -> list[ScriptRun]:
    """The stories with an order each, their customers known to the shop since long."""
    shop = ApiClient(target, CALL_SECONDS, STEP_SECONDS)
    carrier = Carrier(target, timeout=CALL_SECONDS, patience=STEP_SECONDS)
    found = [ScriptRun(story, ScriptedOrder(shop, carrier, f"{story.customer}-{run}")) for story in SCRIPTS]
    seed.add_history(target, [told.life.customer for told in found])
    return found


def trial_balance(target: Target) -> str:
    """What all accounts come to in every currency, and how many differences the proof found."""
    answer: dict[str, Any] = {}

    def proven() -> bool:
        answer.update(ledger_balance.audit(target))
        return not answer["differences"]

    wait_until(proven, STEP_SECONDS, 1.0)
    sums: Sequence[int] = [one["sum"] for one in answer["balances"].values()]
    return f"{sum(map(abs, sums))}, {len(answer['differences'])} differences"
