"""The second part of `make run LIVES=1`: after the saga a reviewer, customers and the carrier act, and each order is followed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from devtools import balance, seed
from devtools.carrier import Carrier
from devtools.cli import UserError
from devtools.scenarios import ORDINARY_BODY
from devtools.shop import Shop, order_body, wait_until
from devtools.target import Target
from orderflow.money import Money, written

REVIEWER = "rex"
STEP_SECONDS = 180.0


@dataclass
class Life:
    """One order and those who act on it; `customer` is of this run alone."""

    shop: Shop
    carrier: Carrier
    customer: str
    order_id: str = ""

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

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its timeline."""
        return self.shop.events(self.customer, self.order_id)

    def reaches(self, state: str) -> bool:
        """Wait until the order is in a state; says whether it got there."""
        return wait_until(lambda: self.order.get("state") == state, STEP_SECONDS, 0.15)

    def confirmed(self, body: dict[str, Any]) -> None:
        """Place the order and wait until the carrier has been asked for it."""
        self.place(body)
        wait_until(lambda: "ShipmentRequested" in [event["type"] for event in self.events], STEP_SECONDS, 0.15)

    def told(self, *amounts: str) -> str:
        """The state, and amounts of the order's document: `delivered, 29.90 EUR captured`."""
        order = self.order
        return ", ".join([order["state"], *(f"{written(Money(**order[name]))} {name}" for name in amounts if order.get(name))])


def approved(life: Life) -> str:
    """A person lets a held order go on."""
    life.place(order_body(("ESPRESSO-PRO", 1)))
    life.reaches("held")
    body = json.dumps({"decision": "approve", "note": "known customer"}).encode()
    path = f"/reviews/{life.order_id}/decision"
    wait_until(lambda: life.shop.call("POST", path, REVIEWER, body=body).status == 200, STEP_SECONDS)
    life.reaches("confirmed")
    return life.told()


def in_two_parcels(life: Life) -> str:
    """The order leaves in two parcels, each paid for when it leaves, and arrives."""
    life.confirmed(ORDINARY_BODY)
    parcels = [life.carrier.dispatch(life.order_id, [("MUG-BLUE", 1)]), life.carrier.dispatch(life.order_id)]
    life.carrier.readings(life.order_id, parcels[0], [41, 38, 44])
    for parcel in parcels:
        life.carrier.deliver(life.order_id, parcel)
    life.reaches("delivered")
    return _settled(life, "captured")


def cancelled(life: Life) -> str:
    """Its customer cancels while the saga runs."""
    life.place(ORDINARY_BODY)
    life.shop.cancel(life.customer, life.order_id, {"reason": "changed my mind"})
    life.reaches("cancelled")
    return life.told()


def sent_back(life: Life) -> str:
    """One of two mugs comes back and is paid back."""
    life.confirmed(ORDINARY_BODY)
    life.carrier.deliver(life.order_id, life.carrier.dispatch(life.order_id))
    life.reaches("delivered")
    answer = life.shop.send_back(life.customer, life.order_id, {"lines": [{"sku": "MUG-BLUE", "quantity": 1}], "reason": "one too many"})
    if answer.status != 201:
        raise UserError(f"the return was answered with {answer.status}: {answer.body.decode(errors='replace')}")
    life.carrier.bring_back(life.order_id, answer.json()["return_id"])
    life.reaches("partly_returned")
    return _settled(life, "refunded")


def lost(life: Life) -> str:
    """The only parcel does not arrive, and everything is paid back."""
    life.confirmed(ORDINARY_BODY)
    life.carrier.lose(life.order_id, life.carrier.dispatch(life.order_id))
    life.reaches("lost")
    return _settled(life, "refunded")


def _settled(life: Life, amount: str) -> str:
    """Wait until the provider's part, which follows, is on the log too."""
    total = life.order["total"]["amount"]
    wanted = {"captured": total, "refunded": 1250 if life.order["state"] == "partly_returned" else total}[amount]

    def there() -> bool:
        money: dict[str, Any] = life.order.get(amount) or {}
        return money.get("amount") == wanted

    wait_until(there, STEP_SECONDS, 0.15)
    return life.told(amount)


@dataclass(frozen=True)
class Story:
    """What happens to an order, and what must come of it."""

    what: str
    customer: str
    happens: Callable[[Life], str]
    expected: str


STORIES = (
    Story("held, and approved", "una", approved, "confirmed"),
    Story("in two parcels", "vic", in_two_parcels, "delivered, EUR 29.90 captured"),
    Story("cancelled under way", "wes", cancelled, "cancelled"),
    Story("one mug sent back", "xia", sent_back, "partly_returned, EUR 12.50 refunded"),
    Story("lost by the carrier", "zoe", lost, "lost, EUR 29.90 refunded"),
)


def lives(target: Target, shop: Shop, run: str) -> list[tuple[Story, Life]]:
    """The stories with an order each, their customers known to the shop since long."""
    found = [(story, Life(shop, Carrier(target), f"{story.customer}-{run}")) for story in STORIES]
    seed.known(target, [life.customer for _, life in found])
    return found


def tell(told: tuple[Story, Life]) -> str:
    """Let a story happen and return what came of it."""
    story, life = told
    return story.happens(life)


def trial_balance(target: Target) -> str:
    """What all accounts come to in every currency, and how many differences the proof found."""
    answer: dict[str, Any] = {}

    def proven() -> bool:
        answer.update(balance.proof(target))
        return not answer["differences"]

    wait_until(proven, STEP_SECONDS, 0.5)
    sums: Sequence[int] = [one["sum"] for one in answer["balances"].values()]
    return f"{sum(map(abs, sums))}, {len(answer['differences'])} differences"
