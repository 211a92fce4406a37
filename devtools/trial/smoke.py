"""Check a deployed stack with one order: it is placed, delivered, returned and refunded, and has its journal entries and emails.

The product and the user are of this run alone and are removed at its end, also after a failure, which cancels the order. The order
stays in the order log, from which nothing is removed. Emails go to the mailbox simulator of SES, which needs no verification.
"""

from argparse import Namespace
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from uuid import uuid4

from devtools import target as targets
from devtools import ui
from devtools.cli import UserError
from devtools.local.api_client import ApiClient, order_body, wait_until
from devtools.local.carrier import Carrier
from devtools.local.post_fulfilment import ScriptedOrder
from devtools.ops import catalog
from devtools.products import Product
from devtools.target import Target
from devtools.trial import sent_emails, users
from ledger.entry_store import EntryStore
from orderflow.aws import dynamodb

PRICE = 1250
STOCK = 1
# A cold stack starts every function once.
STEP_SECONDS = 120.0
POLL_SECONDS = 0.5
# The emails that the order leads to, and the movements of its money.
EMAILED = ("OrderConfirmed", "ShipmentDispatched", "PaymentRefunded")
MOVED = ("PaymentAuthorized", "PaymentCaptured", "PaymentRefunded")


@dataclass
class Smoke:
    """One run: its order, product and user. `payment` is the payment provider's token."""

    target: Target
    payment: str
    run: str = field(default_factory=lambda: uuid4().hex[:8])

    def __post_init__(self) -> None:
        """Name the product and the user by the run."""
        self.product = Product(f"SMOKE-{self.run.upper()}", "Smoke test", PRICE, STOCK, category="smoke-test")
        self.email = users.SIMULATOR.format(f"smoke-{self.run}")
        self.api = ApiClient(self.target, patience=STEP_SECONDS)
        self.order = ScriptedOrder(self.api, Carrier(self.target, patience=STEP_SECONDS), self.email, seconds=STEP_SECONDS)
        self.pool = users.pool_of(self.target)

    def products(self) -> str:
        """Put the product into the catalogue and read it from the API, without a token."""
        catalog.write(self.target, [self.product])
        answer = self.api.call("GET", f"/products/{self.product.sku}", None)
        if answer.status != 200:
            raise UserError(f"GET /products/{self.product.sku} answered {answer.status}: {answer.body.decode(errors='replace')}")
        return self.product.sku

    def token(self) -> str:
        """Create and sign in the user by a call of the API."""
        answer = self.api.call("GET", "/orders", self.email)
        if answer.status != 200:
            raise UserError(f"GET /orders answered {answer.status}: {answer.body.decode(errors='replace')}")
        return self.email

    def place(self) -> str:
        """Place the order and wait for its shipment request."""
        self.order.place_and_wait_for_shipping(order_body((self.product.sku, 1), payment=self.payment))
        return self.order.order_id

    def deliver(self) -> str:
        """Dispatch and deliver the parcel; the payment is captured."""
        self.order.carrier.deliver(self.order.order_id, self.order.carrier.dispatch(self.order.order_id))
        self.order.wait_for_state("delivered")
        return self._amount("captured")

    def refund(self) -> str:
        """Return the product; its price is refunded."""
        body = {"lines": [{"sku": self.product.sku, "quantity": 1}], "reason": "smoke test"}
        answer = self.api.create_return(self.email, self.order.order_id, body)
        if answer.status >= 400:
            raise UserError(f"the return was answered with {answer.status}: {answer.body.decode(errors='replace')}")
        self.order.carrier.receive_return(self.order.order_id, answer.json()["return_id"])
        self.order.wait_for_state("returned")
        return self._amount("refunded")

    def _amount(self, name: str) -> str:
        self.order.wait_for_amount(name, PRICE)
        money: dict[str, Any] = self.order.document.get(name) or {}
        if money.get("amount") != PRICE:
            raise UserError(f"{name} is {money}, not {PRICE}")
        return self.order.summary(name)

    def ledger(self) -> str:
        """Wait for the journal entry of each movement; every entry's postings add up to zero."""
        store = EntryStore(self.target.resources["LedgerEntries"], self.target.client("dynamodb"))
        self._wait("journal entries", lambda: {entry.type for entry in store.of_order(self.order.order_id)}, MOVED)
        entries = store.of_order(self.order.order_id)
        if any(sum(posting.amount for posting in entry.postings) for entry in entries):
            raise UserError(f"the journal entries of {self.order.order_id} do not add up to zero; run make trial-balance")
        return f"{len(entries)} entries, each adds up to zero"

    def emails(self) -> str:
        """Wait until the stack has recorded each email as sent."""
        self.order.refresh()
        events = {event["event_id"]: event["type"] for event in self.order.events if event["type"] in EMAILED}
        self._wait("emails", lambda: {events[one] for one in sent_emails.recorded(self.target, events)}, EMAILED)
        return ", ".join(EMAILED)

    def _wait(self, what: str, look: Callable[[], set[str]], wanted: tuple[str, ...]) -> None:
        missing = set(wanted)

        def complete() -> bool:
            missing.difference_update(look())
            return not missing

        if not wait_until(complete, STEP_SECONDS, POLL_SECONDS):
            raise UserError(f"{what} of {self.order.order_id} are missing after {STEP_SECONDS:.0f} s: {', '.join(sorted(missing))}")

    def cancel(self) -> None:
        """Cancel the order of a failed run, so that the carrier does not ship it and its unit returns to stock."""
        if self.order.order_id:
            self.api.cancel(self.email, self.order.order_id, {"reason": "the smoke test failed"})

    def clean_up(self) -> str:
        """Delete the product and the user. The stock row is deleted once the unit is in stock again, so that nothing writes it again."""
        client, tables, key = self.target.client("dynamodb"), self.target.resources, dynamodb.key(sku=self.product.sku)
        client.delete_item(TableName=tables["Catalogue"], Key=key)
        if self.pool:
            self.pool.remove(self.email)

        def restocked() -> bool:
            row: dict[str, Any] = client.get_item(TableName=tables["Stock"], Key=key, ConsistentRead=True).get("Item", {})
            return not row or row["available"]["N"] == str(STOCK)

        if not wait_until(restocked, STEP_SECONDS, POLL_SECONDS):
            return f"the stock row of {self.product.sku} remains: its unit is not in stock"
        client.delete_item(TableName=tables["Stock"], Key=key)
        return "product and user are removed; the order stays in the order log"


@contextmanager
def _cleaned_up(smoke: Smoke) -> Generator[None]:
    try:
        yield
    except BaseException:
        with suppress(UserError, OSError, HTTPException):
            smoke.cancel()
        raise
    finally:
        with ui.stage("clean up") as step:
            step.detail = smoke.clean_up()


def main(arguments: Namespace) -> None:
    """Run every step and show it. Raises UserError at the first that fails."""
    target = targets.chosen(arguments.stack)
    if target.resources["ApiStage"] == "prod":
        raise UserError(f"refused: {target.stack} has the stage prod, and a smoke test places and refunds an order")
    smoke = Smoke(target, arguments.payment)
    steps: dict[str, Callable[[], str]] = {
        "products": smoke.products,
        "token": smoke.token,
        "order placed": smoke.place,
        "order delivered": smoke.deliver,
        "order refunded": smoke.refund,
        "ledger": smoke.ledger,
        "emails": smoke.emails,
    }
    with _cleaned_up(smoke):
        for title, run in steps.items():
            with ui.stage(title) as step:
                step.detail = run()
