"""Run the saga's functions on every path of an order: outcomes, compensation, payments, cancellations and stock."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from inventory.dependencies import INVENTORY
from inventory.domain.stock_rules import SHARDS, home_shard
from inventory.stock_shards import StockShards
from orderflow.domain.commands import ApproveReview, RecordDelivery, RecordDispatch, RecordReturn, RecordShipment, RequestReturn
from orderflow.domain.events import StockLine
from orderflow.domain.order import stock_lines
from payments.sandbox.provider import SandboxProvider as PaymentSandbox
from shipping.carrier import Parcel
from shipping.sandbox.carrier import SandboxCarrier
from shipping.shipments import shipment_id
from tests.contract.observer import Observer, message, messages
from tests.support import prepared, samples, stock_shards

# Only `every_shard` orders this product, since a process caches which products are sharded.
APRON = "APRON-GREY"


def every_path(observed: Observer) -> None:
    """Run orders through every path of the saga."""
    saga = (
        "inventory.handlers.reserve_stock",
        "fraud.handlers.screen_order",
        "payments.handlers.authorize_payment",
        "orders.handlers.confirm_order",
    )
    compensation = (
        "orders.handlers.record_failure",
        "payments.handlers.void_payment",
        "inventory.handlers.release_stock",
        "orders.handlers.finalize_order",
    )
    histories: dict[str, dict[str, Any]] = {
        "ord_good": {},
        "ord_held": {"lines": {"ESPRESSO-PRO": 1}, "customer": "bob"},
        "ord_short": {"lines": {"SOLD-OUT-LAMP": 1}},
        "ord_refused": {"lines": {"ESPRESSO-PRO": 9}, "customer": "new", "payment_country": "KP"},
        **{f"ord_{token}": {"payment_token": f"tok_{token}"} for token in ("declined", "timeout_after", "timeout_before", "unavailable")},
        "ord_failed_authorized": {},
    }
    for order_id, life in histories.items():
        prepared.place(observed.log, order_id, **life)
        if order_id == "ord_failed_authorized":
            observed.step(order_id, *saga[:3], *compensation, *compensation)
        observed.step(order_id, *saga)
        if observed.log.load(order_id).state == "held":
            observed.log.record(observed.log.load(order_id), ApproveReview("rex", ""), source="orders")
        observed.step(order_id, *saga, *compensation)
    every_cancellation(observed, saga)
    every_payment(observed, saga)


def every_payment(observed: Observer, steps: tuple[str, ...]) -> None:
    """Dispatch and lose a parcel of confirmed orders, then settle and dispute their payments."""
    for token in ("approved", "capture_timeout_after"):
        order_id = f"ord_paid_{token}"
        prepared.place(observed.log, order_id, payment_token=f"tok_{token}")
        observed.step(order_id, *steps)
        prepared.advance(observed.log, order_id, "carrier.dispatches", "carrier.loses")
        observed.run(
            "payments.handlers.settle_payment", messages({"detail": {"order_id": order_id, "correlation_id": "c", "event_id": "e"}})
        )
        base: dict[str, Any] = {"message_id": "evt_1", "payment": f"{order_id}:authorize"}
        disputed = {"type": "dispute.created", "dispute_id": "dp_1", "amount": {"amount": 100, "currency": "EUR"}, "reason": ""}
        observed.run("payments.handlers.process_webhook_event", messages(base | disputed, base | {"type": "authorization.expired"}))
    every_unsettled_payment(observed, steps)


def every_unsettled_payment(observed: Observer, steps: tuple[str, ...]) -> None:
    """Leave payments to be settled by reconciliation or by a provider's message, and let an authorization expire."""
    for order_id in ("ord_reported", "ord_compared", "ord_expired_hold"):
        prepared.place(observed.log, order_id, payment_token="tok_approved")
        observed.step(order_id, *steps)
        if order_id == "ord_expired_hold":
            PaymentSandbox("SandboxPayments", observed.aws.dynamodb.client).expire(f"{order_id}:authorize")
        else:
            prepared.advance(observed.log, order_id, "carrier.dispatches", "carrier.loses")
    for order_id, kind in (
        ("ord_reported", {"type": "payment.refunded", "key": "k"}),
        ("ord_expired_hold", {"type": "authorization.expired"}),
    ):
        observed.run(
            "payments.handlers.process_webhook_event", messages({"message_id": "evt_1", "payment": f"{order_id}:authorize"} | kind)
        )
    observed.run("payments.handlers.reconcile_payments", {})


def every_cancellation(observed: Observer, steps: tuple[str, ...]) -> None:
    """Cancel two confirmed orders: one undispatched, and one fully dispatched."""
    carrier = SandboxCarrier("SandboxShipments", observed.aws.dynamodb.client)
    for postal_code in ("LS1 1AA", "TIMEOUT-BEFORE"):
        prepared.place(observed.log, f"ord_{postal_code}", postal_code=postal_code)
        observed.step(f"ord_{postal_code}", *steps)
        observed.run("shipping.handlers.request_shipment", {"Records": [message(f"ord_{postal_code}")]})
    for order_id in ("ord_undispatched", "ord_dispatched"):
        order = prepared.place(observed.log, order_id)
        observed.step(order_id, *steps)
        if order_id == "ord_dispatched":
            carrier.request(shipment_id(order_id), stock_lines(order), order.shipping_address)
            carrier.dispatch(shipment_id(order_id), Parcel("parcel_1", stock_lines(order)))
        prepared.advance(observed.log, order_id, "customer.cancels")
        observed.step(
            order_id,
            "shipping.handlers.recall_shipment",
            "payments.handlers.void_payment",
            "inventory.handlers.release_stock",
            "orders.handlers.finalize_order",
        )


def every_stock_movement(observed: Observer) -> None:
    """Expire a reservation, and sync the stock of an order after each of its dispatches and returns."""
    prepared.place(observed.log, "ord_expiring")
    observed.step("ord_expiring", "inventory.handlers.reserve_stock")
    prepared.place(observed.log, "ord_leaving", lines={"MUG-BLUE": 3})
    observed.step(
        "ord_leaving",
        "inventory.handlers.reserve_stock",
        "fraud.handlers.screen_order",
        "payments.handlers.authorize_payment",
        "orders.handlers.confirm_order",
    )
    observed.log.record(observed.log.load("ord_leaving"), RecordShipment("ship_1"), source="shipping")
    mug, long_ago, batch = (StockLine("MUG-BLUE", 1),), datetime(2020, 1, 1, tzinfo=UTC), samples.order_batch("ord_leaving")
    for one, module, event in (
        ("1", "inventory.handlers.reconcile_stock", {}),
        ("2", "inventory.handlers.sync_stock", batch),
        ("3", "inventory.handlers.sync_stock", batch),
    ):
        back = RequestReturn(one, mug, "too small", long_ago), RecordReturn(one)
        for command in (RecordDispatch(one, mug), RecordDelivery(one), *back):
            observed.log.record(observed.log.load("ord_leaving"), command, source="shipping")
        observed.run(module, event)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inventory.handlers.expire_reservations.RESERVATION_TIME", timedelta(0))
        observed.run("inventory.handlers.expire_reservations", {})


def every_shard(observed: Observer) -> None:
    """Run every function that moves stock with conflicting rows, and with units on other shards than the home shard."""
    apron = (StockLine(APRON, 1),)
    steps = {
        "inventory.handlers.reserve_stock": ("inventory.handlers.reserve_stock", lambda order_id: {"order_id": order_id}),
        "inventory.handlers.release_stock": ("inventory.handlers.release_stock", lambda order_id: {"order_id": order_id}),
        "inventory.handlers.expire_reservations": ("inventory.handlers.expire_reservations", lambda _: {}),
        "inventory.handlers.reconcile_stock": ("inventory.handlers.reconcile_stock", lambda _: {}),
        "inventory.handlers.sync_stock": ("inventory.handlers.sync_stock", samples.order_batch),
    }
    for case in ("conflict", "other shard"):
        for name, (module, event) in steps.items():
            order_id = f"ord_{case}_{name}"
            prepared.place(observed.log, order_id, lines={APRON: 2})
            if name != "inventory.handlers.reserve_stock":
                observed.step(order_id, "inventory.handlers.reserve_stock")
            if name == "inventory.handlers.release_stock":
                observed.step(order_id, "orders.handlers.record_failure")
            if name in {"inventory.handlers.reconcile_stock", "inventory.handlers.sync_stock"}:
                observed.step(
                    order_id, "fraud.handlers.screen_order", "payments.handlers.authorize_payment", "orders.handlers.confirm_order"
                )
                for command in (RecordShipment("ship_1"), RecordDispatch("parcel_1", apron)):
                    observed.log.record(observed.log.load(order_id), command, source="shipping")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("inventory.handlers.expire_reservations.RESERVATION_TIME", timedelta(0))
                # A new process, whose cache holds no sharded product.
                patch.setattr(INVENTORY, "shards", StockShards("Stock", observed.aws.dynamodb.client))
                if case == "other shard":
                    elsewhere = home_shard(order_id, APRON) % (SHARDS - 1) + 1
                    stock_shards.scatter(observed.aws.dynamodb, APRON, lambda elsewhere=elsewhere: elsewhere)
                    observed.run(module, event(order_id))
                else:
                    with observed.conflicting(2):
                        observed.run(module, event(order_id))
