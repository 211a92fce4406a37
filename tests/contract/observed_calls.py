"""Run every handler on the in-memory AWS, on every path of an order, and record the calls of each function."""

import importlib
import json
import re
from datetime import timedelta
from typing import Any

import pytest

from fraud.domain import fraud_rules
from fraud.handlers import screen_order
from orderflow.aws.flags import Flags
from orders.domain import pricing
from orders.domain.unpaid_limits import MAX_ORDERS
from shipping import tracking_dependencies
from shipping.domain.parcel_watch import ShippingFlags, parse_flags
from tests.conftest import ROOT
from tests.contract.observed_operations import (
    every_publication,
    every_rebuild,
    every_recovery,
    every_redrive,
    every_remediation,
    every_stream_failure,
)
from tests.contract.observed_orders import APRON, every_path, every_shard, every_stock_movement
from tests.contract.observer import EVENTS, Observer, messages, sample
from tests.contract.stack import Grant
from tests.fakes.aws import clients
from tests.fakes.aws.dynamodb import client_error
from tests.support import prepared, samples, webhooks

FUNCTIONS = sorted(
    f"{path.parents[1].name}.handlers.{path.stem}.handler"
    for path in (ROOT / "functions").glob("*/handlers/*.py")
    if "\ndef handler(" in path.read_text("utf-8")
)


def observe() -> dict[str, set[Grant]]:
    """Return the calls of every handler on all paths of an order."""
    observed = Observer()
    stock = [("MUG-BLUE", 1000), ("ESPRESSO-PRO", 1000), (APRON, 1000), ("SOLD-OUT-LAMP", 0)]
    observed.aws.dynamodb.seed(
        "Stock", *({"sku": {"S": sku}, "available": {"N": str(count)}, "reserved": {"N": "0"}} for sku, count in stock)
    )
    product = {"name": {"S": "x"}, "unit_price": {"N": "1250"}, "currency": {"S": "EUR"}, "active": {"BOOL": True}}
    observed.aws.dynamodb.seed("Catalogue", *({"sku": {"S": sku}, **product} for sku, _ in stock))
    screen_order.FLAGS = Flags(fraud_rules.parse_flags, fraud_rules.FraudFlags())
    every_path(observed)
    every_stock_movement(observed)
    every_shard(observed)
    observed.lend(put_events={"FailedEntryCount": 0, "Entries": []}, send_email={"MessageId": "m"}, publish={"MessageId": "m"})
    every_order_request(observed)
    every_invoice_and_points(observed)
    every_rebuild(observed)
    every_recovery(observed)
    every_publication(observed)
    every_journal_entry(observed)
    every_email(observed)
    every_redrive(observed)
    every_count(observed)
    every_remediation(observed)
    every_stream_failure(observed)
    every_webhook(observed)
    every_review(observed)
    every_other_sample(observed)
    clients.lend()
    return observed.grants


def every_order_request(observed: Observer) -> None:
    """Place, read, list, cancel and return orders, publish their events, and list products."""
    for path in sorted(EVENTS.glob("orders/place_order/*.json")) + sorted(EVENTS.glob("orders/publish/*.json")):
        if not path.stem.endswith(".answer"):
            observed.run(f"orders.handlers.{path.parent.name}", json.loads(path.read_text("utf-8")))
    place_after_recount(observed)
    order = prepared.place(observed.log, pricing.order_id("ann", "read")).order_id
    reading = sample("orders/get_order/order")
    observed.run("orders.handlers.get_order", {**reading, "pathParameters": {"order_id": order}})
    for request in (
        sample("orders/cancel_order/placed"),
        sample("orders/cancel_order/confirmed"),
        sample("orders/create_return/created"),
    ):
        prepared.prepare(observed.log, request["pathParameters"]["order_id"])
        observed.run(
            "orders.handlers.create_return" if "Idempotency-Key" in request["headers"] else "orders.handlers.cancel_order", request
        )
    prepared.prepare(observed.log, "ord_0000000000projectconfirmed")
    for name in (
        "project/confirmed",
        "list_products/first-page",
        "list_orders/first-page",
        "list_orders/of-a-state",
        "rebuild_view/from-the-beginning",
        "get_openapi/document",
    ):
        observed.run(f"orders.handlers.{name.partition('/')[0]}", sample(f"orders/{name}"))
    # A product that no other test of the process has put into the function's cache.
    observed.run("orders.handlers.list_products", sample("orders/list_products/product") | {"pathParameters": {"sku": "NEVER-READ"}})


def place_after_recount(observed: Observer) -> None:
    """Place an order of a customer whose unpaid orders need a recount, since one of them is confirmed."""
    request = sample("orders/place_order/accepted")
    request["headers"]["Idempotency-Key"] = "recount"
    request["body"] = json.dumps(json.loads(request["body"]) | {"lines": [{"sku": "MUG-BLUE", "quantity": 1}]})
    customer = request["requestContext"]["authorizer"]["customer_id"]
    orders = {"SS": ["ord_good", *(f"ord_{number}" for number in range(MAX_ORDERS))]}
    observed.aws.dynamodb.seed("Allowances", {"customer_id": {"S": customer}, "orders": orders, "revision": {"N": "1"}})
    assert observed.run("orders.handlers.place_order", request)["statusCode"] == 201


def every_invoice_and_points(observed: Observer) -> None:
    """Issue and read an invoice, award and read points."""
    for order_id in ("ord_0000000000invoiceconfirmed", "ord_000000000000awardconfirmed"):
        prepared.prepare(observed.log, order_id)
    for name in (
        "invoices/issue_invoices/confirmed",
        "invoices/get_invoice/invoice",
        "loyalty/award_points/confirmed",
        "loyalty/get_points/points",
    ):
        observed.run(".handlers.".join(name.split("/")[:2]), sample(name))


def every_journal_entry(observed: Observer) -> None:
    """Post entries, and audit the ledger of orders that the log lacks, so that the audit reports differences."""
    for name in ("captured", "delivered-twice", "poison-among-good"):
        observed.run("ledger.handlers.post_entries", sample(f"ledger/post_entries/{name}"))
    observed.lend(put_events={"FailedEntryCount": 0, "Entries": []})
    observed.run("ledger.handlers.audit_ledger", sample("ledger/audit_ledger/manual"))
    # Orders longer than the window are compared from its start.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ledger.audit.WINDOW", 1)
        observed.run("ledger.handlers.audit_ledger", sample("ledger/audit_ledger/manual"))


def every_email(observed: Observer) -> None:
    """Send emails once and twice, alert operators, and have SES refuse one."""
    observed.lend(send_email={"MessageId": "m"}, publish={"MessageId": "m"})
    for name in ("confirmed", "confirmed", "rejected", "spoiled"):
        observed.run("notifications.handlers.send_emails", sample(f"notifications/send_emails/{name}"))
    observed.lend(send_email=client_error("SendEmail", "MessageRejected", "no"))
    observed.run("notifications.handlers.send_emails", sample("notifications/send_emails/held"))


def every_count(observed: Observer) -> None:
    """Count events, aggregate them, and read the totals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analytics.aggregation.RECOUNT_DELAY", timedelta(0))
        for name in (
            "count_events/life",
            "aggregate/schedule",
            "aggregate/start-recount",
            "aggregate/schedule",
            "get_sales/minutes",
            "get_leaderboard/all",
        ):
            observed.run(f"analytics.handlers.{name.partition('/')[0]}", sample(f"analytics/{name}"))


def every_webhook(observed: Observer) -> None:
    """Send webhooks of the carrier about shipments and parcels, and of the payment provider."""
    order_id = f"ord_{'recorddispatched':0>26}"
    prepared.prepare(observed.log, order_id)
    observed.lend(get_secret_value={"SecretString": "secret"})
    for module in ("shipping.handlers.receive_webhook", "payments.handlers.receive_webhook"):
        # A new process, which has not read the secret.
        importlib.import_module(module).SECRET._read_at = float("-inf")
    known = ("shipping/retry_carrier_events/dispatched", "shipping/track_parcels/readings")
    bodies = [sample(name)["Records"][-1]["body"] for name in known]
    dispatched = bodies[0]
    early = json.dumps(json.loads(dispatched) | {"type": "delivered", "parcel_id": "parcel_9"})
    for body in (*bodies, early):
        request = sample("shipping/receive_webhook/unsigned") | {"headers": webhooks.headers(body.encode()), "body": body}
        observed.run("shipping.handlers.receive_webhook", request)
    observed.run("shipping.handlers.retry_carrier_events", messages(json.loads(dispatched) | {"type": "lost"}, json.loads(early)))
    observed.run("shipping.handlers.track_parcels", sample("shipping/track_parcels/readings"))
    prepared.prepare(observed.log, f"ord_{'recordperishable':0>26}")
    observed.run("shipping.handlers.retry_carrier_events", sample("shipping/retry_carrier_events/perishable"))
    for module, event in (
        ("shipping.handlers.track_parcels", sample("shipping/track_parcels/out-of-range")),
        ("shipping.handlers.check_silent_parcels", {}),
    ):
        # A new process, which has not read the flags.
        tracking_dependencies.FLAGS = Flags(parse_flags, ShippingFlags())
        observed.run(module, event)
    expired = '{"message_id": "evt_1", "type": "authorization.expired", "payment": "ord_1:authorize"}'
    request = sample("payments/receive_webhook/unsigned") | {"headers": webhooks.headers(expired.encode()), "body": expired}
    observed.run("payments.handlers.receive_webhook", request)


def every_review(observed: Observer) -> None:
    """Review held orders: with a second execution, with a decision, and with a timeout."""
    for order_id in ("ord_0000000000000000000decided", "ord_expired"):
        prepared.place(observed.log, order_id, lines={"ESPRESSO-PRO": 1})
        prepared.advance(observed.log, order_id, "inventory.handlers.reserve_stock", "fraud.handlers.screen_order")
        for execution in ("one", "two"):
            step = {"order_id": order_id, "correlation_id": "c", "execution": execution, "token": f"token-{execution}"}
            observed.lend(describe_execution={"status": "FAILED"})
            observed.run("reviews.handlers.open_review", step)
            observed.run("reviews.handlers.store_task_token", step)
        observed.run("reviews.handlers.store_task_token", {**step, "execution": "one"})
    observed.run("reviews.handlers.list_reviews", sample("reviews/list_reviews/first-page"))
    observed.run(
        "reviews.handlers.decide_review",
        {**sample("reviews/decide_review/approve"), "pathParameters": {"order_id": "ord_0000000000000000000decided"}},
    )
    observed.run("reviews.handlers.expire_review", {"order_id": "ord_expired", "correlation_id": "c"})
    ended = sample("reviews/close_review/timed-out")
    body = json.loads(ended["Records"][0]["body"])
    ended["Records"][0]["body"] = json.dumps({**body, "detail": {**body["detail"], "order_id": "ord_expired"}})
    observed.run("reviews.handlers.close_review", ended)


def every_other_sample(observed: Observer) -> None:
    """Run the samples of every function that has not been run, on the orders that they name."""
    for handler in sorted(set(FUNCTIONS) - set(observed.grants)):
        module = handler.removesuffix(".handler")
        for name in samples.names(module.replace(".handlers.", "/")):
            for order_id in named_orders(sample(name)) - set(prepared_orders(observed)):
                prepared.prepare(observed.log, order_id)
            observed.run(module, sample(name))


def named_orders(event: Any) -> set[str]:
    """Return the orders of events/prepared.json that a sample names."""
    return set(re.findall(r"ord_\w+", json.dumps(event))) & set(prepared.PREPARED)


def prepared_orders(observed: Observer) -> set[str]:
    """Return the ids of the orders in the log."""
    return {item["order_id"]["S"] for item in observed.aws.dynamodb.items("OrderLog")}
