"""Appends orders to the log in the state that a test needs: those of events/prepared.json, or plain ones.

an_order(log).confirmed()
an_order(log, "ord_2").reserved().cancelled_by_customer()
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devtools.local.invoke import OUTSIDE
from orderflow.aws.clients import client
from orderflow.aws.payment_tokens import PaymentTokens
from orderflow.domain.commands import (
    CancelOrder,
    Command,
    ConfirmOrder,
    ExpireReservation,
    FailFulfilment,
    RecordAuthorization,
    RecordDecline,
    RecordRecall,
    RecordRelease,
    RecordReservation,
    RecordScreening,
    RecordShortage,
    RecordVoid,
    RejectOrder,
)
from orderflow.domain.events import Address, Customer, OrderPlaced, Shortage
from orderflow.domain.order import Order, Screening
from tests.support.products import line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orderflow.aws.order_log import OrderLog

PREPARED: dict[str, dict[str, Any]] = json.loads((Path(__file__).resolve().parents[2] / "events" / "prepared.json").read_text())

TOKENS = PaymentTokens("PaymentTokens", client("dynamodb"))


SAGA_STEPS = (
    "inventory.handlers.reserve_stock",
    "fraud.handlers.screen_order",
    "payments.handlers.authorize_payment",
    "orders.handlers.confirm_order",
)


def place(
    log: OrderLog,
    order_id: str = "ord_1",
    *,
    customer: str = "ann",
    lines: Mapping[str, int] | None = None,
    payment_token: str = "tok_approved",
    country: str = "GB",
    payment_country: str | None = None,
    postal_code: str = "LS1 1AA",
) -> Order:
    """Append a placed order of these products (sku: quantity) to the log."""
    priced = tuple(line(sku, quantity) for sku, quantity in (lines or {"MUG-BLUE": 2}).items())
    total = sum((one.unit_price.times(one.quantity) for one in priced[1:]), priced[0].unit_price.times(priced[0].quantity))
    address = Address("Ann Lee", "1 High St", "Leeds", postal_code, country)
    placed = OrderPlaced(Customer(customer, f"{customer}@example.com"), priced, total, address, payment_country or country)
    token_write = TOKENS.put_request(order_id, payment_token, datetime.now(UTC) + timedelta(days=8))
    log.place(order_id, placed, correlation_id="correlation-1", fingerprint="fingerprint", extra_writes=[token_write])
    return log.load(order_id)


def advance(log: OrderLog, order_id: str, *steps: str, real_steps: Mapping[str, Callable[[str], object]] | None = None) -> Order:
    """Record the events of steps, which are named by their handlers' modules.

    `real_steps` maps a step to a function that runs it instead.
    """
    for step in steps:
        if real_steps and step in real_steps:
            real_steps[step](order_id)
        else:
            order = log.load(order_id)
            log.record(order, _COMMANDS[step](order), source=step.partition(".")[0])
    return log.load(order_id)


def expire(log: OrderLog, order_id: str) -> Order:
    """Expire the order's reservation regardless of its age."""
    return log.record(log.load(order_id), ExpireReservation(datetime.max.replace(tzinfo=UTC)), source="inventory").order


def prepare(log: OrderLog, order_id: str, *steps: str, real_steps: Mapping[str, Callable[[str], object]] | None = None) -> Order:
    """Append an order of events/prepared.json to the log, or a plain one after `steps`."""
    known = dict(PREPARED.get(order_id, {"steps": steps}))
    through = known.pop("steps")
    place(log, order_id, **known)
    return advance(log, order_id, *through, real_steps=real_steps)


class LoggedOrder:
    """An order on the log. Each method records the steps that the order still lacks for that state."""

    def __init__(self, log: OrderLog, order_id: str) -> None:
        self._log, self._order_id, self._done = log, order_id, 0

    def reserved(self) -> LoggedOrder:

        return self._until(1)

    def screened(self) -> LoggedOrder:

        return self._until(2)

    def authorized(self) -> LoggedOrder:

        return self._until(3)

    def confirmed(self) -> LoggedOrder:

        return self._until(4)

    def cancelled_by_customer(self) -> LoggedOrder:

        return self._record("customer.cancels")

    def finalized(self) -> LoggedOrder:

        return self._record("orders.handlers.finalize_order")

    @property
    def order(self) -> Order:
        """Load the order from the log."""
        return self._log.load(self._order_id)

    def _until(self, steps: int) -> LoggedOrder:
        missing, self._done = SAGA_STEPS[self._done : steps], steps
        return self._record(*missing)

    def _record(self, *steps: str) -> LoggedOrder:
        advance(self._log, self._order_id, *steps)
        return self


def an_order(log: OrderLog, order_id: str = "ord_1", **details: Any) -> LoggedOrder:
    """Append a plain order to the log; `details` are the keywords of `place`."""
    place(log, order_id, **details)
    return LoggedOrder(log, order_id)


def _reserved(order: Order) -> Command:
    short = "SOLD-OUT-LAMP" in {line.sku for line in order.lines}
    return RecordShortage((Shortage("SOLD-OUT-LAMP", 1, 0),)) if short else RecordReservation()


def _screened(order: Order) -> Command:
    return RecordScreening(Screening("hold" if "ESPRESSO-PRO" in {line.sku for line in order.lines} else "approve", 0, ()))


_COMMANDS: dict[str, Callable[[Order], Command]] = {
    "inventory.handlers.reserve_stock": _reserved,
    "fraud.handlers.screen_order": _screened,
    "payments.handlers.authorize_payment": lambda _order: RecordAuthorization("auth_1"),
    "payments.decline": lambda _order: RecordDecline("card_declined"),
    "payments.handlers.void_payment": lambda _order: RecordVoid("auth_1"),
    "inventory.handlers.release_stock": lambda _order: RecordRelease(),
    "orders.handlers.confirm_order": lambda _order: ConfirmOrder(),
    "orders.handlers.record_failure": lambda _order: FailFulfilment("authorize", "States.TaskFailed"),
    "orders.handlers.finalize_order": lambda order: CancelOrder() if order.cancellation else RejectOrder(),
    "shipping.handlers.recall_shipment": lambda order: RecordRecall(f"{order.order_id}:shipment"),
    **OUTSIDE,
}
