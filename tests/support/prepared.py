"""Orders on the log, brought as far as a test needs them: the ones of events/prepared.json, and plain ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devtools.local.invoke import OUTSIDE
from devtools.local.seed import PRODUCTS
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
from orderflow.domain.events import Address, Customer, Line, OrderPlaced, Shortage
from orderflow.domain.money import Money
from orderflow.domain.order import Order, Screening

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orderflow.aws.order_log import OrderLog

PREPARED: dict[str, dict[str, Any]] = json.loads((Path(__file__).resolve().parents[2] / "events" / "prepared.json").read_text())

TOKENS = PaymentTokens("PaymentTokens", client("dynamodb"))


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
    """Put an order of products of the seed (sku: quantity) on the log."""
    products = {product.sku: product for product in PRODUCTS}
    priced = tuple(
        Line(sku, products[sku].name, quantity, Money(products[sku].unit_price, products[sku].currency))
        for sku, quantity in (lines or {"MUG-BLUE": 2}).items()
    )
    total = sum((line.unit_price.times(line.quantity) for line in priced[1:]), priced[0].unit_price.times(priced[0].quantity))
    address = Address("Ann Lee", "1 High St", "Leeds", postal_code, country)
    placed = OrderPlaced(Customer(customer, f"{customer}@example.com"), priced, total, address, payment_country or country)
    storing = TOKENS.storing(order_id, payment_token, datetime.now(UTC) + timedelta(days=8))
    log.place(order_id, placed, correlation_id="correlation-1", fingerprint="fingerprint", extra_writes=[storing])
    return log.load(order_id)


def advance(log: OrderLog, order_id: str, *steps: str, really: Mapping[str, Callable[[str], object]] | None = None) -> Order:
    """Let steps of the saga, named by their modules, have their effect on the log.

    Steps in `really` are carried out by the function given there; of the others only the fact is recorded.
    """
    for step in steps:
        if really and step in really:
            really[step](order_id)
        else:
            order = log.load(order_id)
            log.record(order, _COMMANDS[step](order), source=step.partition(".")[0])
    return log.load(order_id)


def expire(log: OrderLog, order_id: str) -> Order:
    """Let the order's reservation expire on the log, however young it is."""
    return log.record(log.load(order_id), ExpireReservation(datetime.max.replace(tzinfo=UTC)), source="inventory").order


def prepare(log: OrderLog, order_id: str, *steps: str, really: Mapping[str, Callable[[str], object]] | None = None) -> Order:
    """Put an order of events/prepared.json on the log, or a plain one that has come through `steps`."""
    known = dict(PREPARED.get(order_id, {"steps": steps}))
    through = known.pop("steps")
    place(log, order_id, **known)
    return advance(log, order_id, *through, really=really)


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
