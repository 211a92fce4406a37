"""Runs every handler on the in-memory AWS, on every path of an order, and records the calls of each function."""

import copy
import importlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fraud.domain import fraud_rules
from fraud.handlers import screen_order
from inventory.dependencies import INVENTORY
from inventory.domain.stock_rules import SHARDS, home_shard
from inventory.stock_shards import StockShards
from operations import redrive_routes
from operations.domain import alarm_signals
from operations.handlers import decide_remediation
from operations.redrive_routes import dead_letters
from orderflow.aws.batch import FailedRecordQueue
from orderflow.aws.flags import Flags
from orderflow.aws.order_log import OrderLog
from orderflow.domain.commands import ApproveReview, RecordDelivery, RecordDispatch, RecordReturn, RecordShipment, RequestReturn
from orderflow.domain.events import StockLine
from orderflow.domain.order import stock_lines
from orders.domain import pricing
from orders.domain.unpaid_limits import MAX_ORDERS
from payments.sandbox.provider import SandboxProvider as PaymentSandbox
from shipping import tracking_dependencies
from shipping.carrier import Parcel
from shipping.domain.parcel_watch import ShippingFlags, parse_flags
from shipping.sandbox.carrier import SandboxCarrier
from shipping.shipments import shipment_id
from tests.conftest import ENVIRONMENT, ROOT, TABLES, Aws
from tests.contract.stack import Grant, referred
from tests.contract.test_routing import RESOURCES, short
from tests.fakes.aws import clients
from tests.fakes.aws.appconfig import FakeAppConfig
from tests.fakes.aws.dynamodb import FakeDynamoDB, Parameters, client_error
from tests.support import prepared, samples, stock_shards, webhooks
from tests.support.runtime import CONTEXT

FUNCTIONS = sorted(
    f"{path.parents[1].name}.handlers.{path.stem}.handler"
    for path in (ROOT / "functions").glob("*/handlers/*.py")
    if "\ndef handler(" in path.read_text("utf-8")
)
EVENTS = ROOT / "events"
WRITES = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
# Each consumer of a stream, and the queue of its failed records.
STREAM_CONSUMERS = {
    function["Handler"].removesuffix(".handler"): short(RESOURCES[referred(queue)]["Properties"]["QueueName"])
    for function in (resource["Properties"] for resource in RESOURCES.values() if resource["Type"] == "AWS::Lambda::Function")
    if (queue := function["Environment"]["Variables"].get("RETRY_QUEUE_URL"))
}
# Only `every_shard` orders this product, since a process caches which products are sharded.
APRON = "APRON-GREY"
REVIEW = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:%s:${AWS::StackName}-review"
FLAGS = (
    "arn:${AWS::Partition}:appconfig:${AWS::Region}:${AWS::AccountId}"
    ":application/${Flags}/environment/${FlagsEnvironment}/configuration/${FlagsProfile}"
)
FLAG_DEPLOYMENTS = "arn:${AWS::Partition}:appconfig:${AWS::Region}:${AWS::AccountId}:application/${Flags}*"
STRATEGY = "arn:${AWS::Partition}:appconfig:${AWS::Region}:${AWS::AccountId}:deploymentstrategy/${FlagsImmediate}"
# The ARN pattern of resources whose names start with the name of the stack.
OWN = "arn:${{AWS::Partition}}:{0}:${{AWS::Region}}:${{AWS::AccountId}}:{1}${{AWS::StackName}}-*"
IDENTITIES = "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:identity/*"


class PreparedClient:
    """A client of any service: reports each call to `seen` and returns or raises the prepared answer."""

    def __init__(self, seen: Any, answers: dict[str, Any]) -> None:
        self._seen = seen
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        def call(**parameters: Any) -> Any:
            self._seen("".join(map(str.title, name.split("_"))), parameters)
            answer = self._answers.get(name, {})
            if isinstance(answer, list):
                answer = answer.pop(0) if answer else {}
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


class Observer:
    """Runs handlers on the in-memory AWS and records the calls of each function: action and resource."""

    def __init__(self) -> None:
        self.grants: dict[str, set[Grant]] = defaultdict(set)
        self.function = ""
        self.aws = Aws(dynamodb=FakeDynamoDB(*TABLES))
        self.aws.dynamodb.before = lambda operation, given: self._note(_tables(operation, given))
        self.log = OrderLog("OrderLog", self.aws.dynamodb.client)
        self.lend()

    def lend(self, **answers: Any) -> None:
        """Give the functions the in-memory services; `answers` maps methods of SQS, SNS and SES to their answers."""
        services = {
            "events": lambda _, given: self._note(("events:PutEvents", _bus(entry)) for entry in given["Entries"]),
            "sqs": lambda operation, given: self._note([(f"sqs:{operation}", _queue(given["QueueUrl"]))]),
            "sns": lambda operation, given: self._note([(f"sns:{operation}", given["TopicArn"].rpartition(":")[2].title())]),
            "secretsmanager": lambda operation, given: self._note([(f"secretsmanager:{operation}", given["SecretId"].rpartition(":")[2])]),
            "stepfunctions": lambda operation, given: self._note([(f"states:{operation}", _workflow(given))]),
            "kinesis": lambda operation, _: self._note([(f"kinesis:{operation}", "EventStream")]),
            "dynamodbstreams": lambda operation, _: self._note([(f"dynamodb:{operation}", "OrderLog")]),
            "s3": lambda operation, given: self._note([(f"s3:{operation}", f"{given['Bucket']}/*")]),
            "ses": lambda operation, given: self._note([(f"ses:{operation}", IDENTITIES)]),
            "appconfig": lambda operation, _: self._note(_flags(operation)),
            "cloudwatch": lambda operation, _: self._note([(f"cloudwatch:{operation}", OWN.format("cloudwatch", "alarm:"))]),
            "codedeploy": lambda operation, _: self._note([(f"codedeploy:{operation}", OWN.format("codedeploy", "*:"))]),
            "lambda": lambda operation, _: self._note([(f"lambda:{operation}", _of_lambda(operation))]),
            "logs": lambda operation, _: self._note([(f"logs:{operation}", OWN.format("logs", "log-group:/aws/lambda/"))]),
        }
        flags = FakeAppConfig()
        flags.before = lambda operation, _: self._note([(f"appconfig:{operation}", FLAGS)])
        others = {name: PreparedClient(seen, answers) for name, seen in services.items()}
        clients.lend(dynamodb=self.aws.dynamodb, appconfigdata=flags, **others)

    def run(self, module: str, event: Any) -> Any:
        """Run the handler of a module (orders.handlers.place_order) on an event; return its answer or exception."""
        handler = importlib.import_module(module).handler
        self.function = f"{module}.handler"
        try:
            return handler(event, CONTEXT)
        except Exception as error:  # noqa: BLE001 - the calls before the failure count
            return error
        finally:
            self.function = ""

    def step(self, order_id: str, *modules: str) -> None:
        """Run steps of the saga on an order."""
        for module in modules:
            self.run(module, {"order_id": order_id, "correlation_id": "c", "step": "authorize", "error": "States.Timeout"})

    @contextmanager
    def conflicting(self, times: int) -> Iterator[None]:
        """Cancel the first `times` transactions with a conflict on stock rows, within the context."""
        noted, inject = self.aws.dynamodb.before, stock_shards.conflicting(times)

        def hook(operation: str, given: Parameters) -> None:
            if noted:
                noted(operation, given)
            inject(operation, given)

        self.aws.dynamodb.before = hook
        yield
        self.aws.dynamodb.before = noted

    def _note(self, grants: Any) -> None:
        if self.function:
            self.grants[self.function] |= set(grants)


def _flags(operation: str) -> list[Grant]:
    found = [(f"appconfig:{operation}", FLAG_DEPLOYMENTS)]
    return [*found, (f"appconfig:{operation}", STRATEGY)] if operation == "StartDeployment" else found


def _of_lambda(operation: str) -> str:
    mapping = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:event-source-mapping:*"
    return mapping if operation.endswith("EventSourceMapping") else OWN.format("lambda", "function:")


def _tables(operation: str, given: Parameters) -> Iterator[Grant]:
    if operation == "TransactWriteItems":
        for item in given["TransactItems"]:
            [(kind, write)] = item.items()
            yield f"dynamodb:{WRITES[kind]}", write["TableName"]
    elif operation == "BatchGetItem":
        yield from (("dynamodb:BatchGetItem", table) for table in given["RequestItems"])
    else:
        index = f"/index/{given['IndexName']}" if "IndexName" in given else ""
        yield f"dynamodb:{operation}", given["TableName"] + index


def _queue(url: str) -> str:
    name = "".join(map(str.title, url.rpartition("/")[2].split("-")))
    return name if name.endswith("DeadLetters") else f"{name}Queue"


def _workflow(given: dict[str, Any]) -> str:
    """Return the state machine of a call, or the ARN pattern if the policy can only name a pattern."""
    if "stateMachineArn" in given:
        return given["stateMachineArn"].rpartition(":")[2].title()
    return REVIEW % "execution" + ":*" if "executionArn" in given else REVIEW % "stateMachine"


def _bus(entry: dict[str, Any]) -> str:
    assert entry["EventBusName"] == ENVIRONMENT["EVENT_BUS"]
    return "EventBus"


def message(order_id: str) -> Any:
    """Return an SQS message with an event about an order."""
    body = json.dumps({"detail": {"order_id": order_id, "correlation_id": "c", "event_id": f"{order_id}:9"}})
    return {"messageId": "m", "body": body, "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"}


def sample(path: str) -> Any:
    return json.loads((EVENTS / f"{path}.json").read_text("utf-8"))


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


def messages(*bodies: Any) -> Any:
    """Return an SQS batch with these bodies."""
    of_sqs = {"eventSource": "aws:sqs", "attributes": {"ApproximateReceiveCount": "1"}}
    return {
        "Records": [
            {"messageId": str(number), "receiptHandle": "r", "body": json.dumps(body), **of_sqs} for number, body in enumerate(bodies)
        ]
    }


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


def confirm_with_marker(observed: Observer) -> None:
    """Confirm an order without clearing its active-order marker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observed.aws.dynamodb, "update_item", lambda **_: {})
        prepared.prepare(
            observed.log,
            "ord_with_marker",
            "inventory.handlers.reserve_stock",
            "fraud.handlers.screen_order",
            "payments.handlers.authorize_payment",
            "orders.handlers.confirm_order",
        )


def place_after_recount(observed: Observer) -> None:
    """Place an order of a customer whose unpaid orders need a recount, since one of them is confirmed."""
    request = sample("orders/place_order/accepted")
    request["headers"]["Idempotency-Key"] = "recount"
    request["body"] = json.dumps(json.loads(request["body"]) | {"lines": [{"sku": "MUG-BLUE", "quantity": 1}]})
    customer = request["requestContext"]["authorizer"]["customer_id"]
    orders = {"SS": ["ord_good", *(f"ord_{number}" for number in range(MAX_ORDERS))]}
    observed.aws.dynamodb.seed("Allowances", {"customer_id": {"S": customer}, "orders": orders, "revision": {"N": "1"}})
    assert observed.run("orders.handlers.place_order", request)["statusCode"] == 201


def every_rebuild(observed: Observer) -> None:
    """Rebuild the tables of an invoiced order, of one with reserved and returned stock, and of an unpaid one."""
    prepared.place(observed.log, "ord_unpaid")
    prepared.prepare(observed.log, "ord_000000screenscreenedbefore")
    observed.run("orders.handlers.rebuild_view", {})
    invoiced = {"orders": ["ord_0000000000invoiceconfirmed"]}
    observed.run("invoices.handlers.rebuild_invoices", invoiced)
    observed.run("fraud.handlers.rebuild_history", sample("fraud/rebuild_history/screened"))
    orders = {"orders": ["ord_leaving", "ord_000000screenscreenedbefore"]}
    observed.run("inventory.handlers.rebuild_stock", orders)
    for levels in ({"MUG-BLUE": (1, 1)}, {"NO-ROW": (1, 0)}):
        observed.run("inventory.handlers.rebuild_stock", {"levels": levels})


def every_publication(observed: Observer) -> None:
    """Publish an event of a sampled order, and detect a missing one."""
    record = sample("orders/publish/appended")["Records"][0]
    record["dynamodb"]["NewImage"]["outbox"] = {"S": "0"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orderflow.aws.order_log_items.SAMPLE", 1)
        patch.setattr("operations.handlers.publish_missing_events.OVERDUE_AFTER", timedelta(0))
        prepared.place(observed.log, "ord_sampled")
        observed.run("orders.handlers.publish", {"Records": [record]})
        observed.run("operations.handlers.publish_missing_events", {})


def every_call(observed: Observer) -> None:
    """Call the functions outside the saga with their samples and with failures."""
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
    ):
        observed.run(f"orders.handlers.{name.partition('/')[0]}", sample(f"orders/{name}"))
    # A product that no other test of the process has put into the function's cache.
    observed.run("orders.handlers.list_products", sample("orders/list_products/product") | {"pathParameters": {"sku": "NEVER-READ"}})
    for order_id in ("ord_0000000000invoiceconfirmed", "ord_000000000000awardconfirmed"):
        prepared.prepare(observed.log, order_id)
    for name in (
        "invoices/issue_invoices/confirmed",
        "invoices/get_invoice/invoice",
        "loyalty/award_points/confirmed",
        "loyalty/get_points/points",
    ):
        observed.run(".handlers.".join(name.split("/")[:2]), sample(name))
    every_rebuild(observed)
    observed.run("orders.handlers.get_openapi", sample("orders/get_openapi/document"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("operations.handlers.recover_orders.STUCK_AFTER", timedelta(0))
        confirm_with_marker(observed)
        observed.run("operations.handlers.recover_orders", {})
    every_publication(observed)
    for name in ("confirmed", "confirmed", "rejected", "spoiled"):
        observed.run("notifications.handlers.send_emails", sample(f"notifications/send_emails/{name}"))
    for name in ("captured", "delivered-twice", "poison-among-good"):
        observed.run("ledger.handlers.post_entries", sample(f"ledger/post_entries/{name}"))
    # The log lacks these orders, so the audit reports differences.
    observed.lend(put_events={"FailedEntryCount": 0, "Entries": []})
    observed.run("ledger.handlers.audit_ledger", sample("ledger/audit_ledger/manual"))
    # Orders longer than the window are compared from its start.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ledger.audit.WINDOW", 1)
        observed.run("ledger.handlers.audit_ledger", sample("ledger/audit_ledger/manual"))
    observed.lend(send_email=client_error("SendEmail", "MessageRejected", "no"))
    observed.run("notifications.handlers.send_emails", sample("notifications/send_emails/held"))
    body = json.dumps({"detail": {"order_id": "ord_good", "correlation_id": "c"}, "order_id": "ord_good", "correlation_id": "c"})
    dead_letter = {"MessageId": "m", "ReceiptHandle": "r", "Body": body}
    failed = {**dead_letter, "Body": json.dumps({**json.loads(body), "workflow": "review"})}
    for queue in redrive_routes.routes("operations", topic="", saga="", workflows={redrive_routes.REVIEW: ""}):
        observed.lend(receive_message=[{"Messages": [dead_letter]}])
        observed.run("operations.handlers.redrive", {"queue": queue, "max": 1})
    of_rule = {"RULE_ARN": {"DataType": "String", "StringValue": "rule"}}
    observed.lend(receive_message=[{"Messages": [{**dead_letter, "MessageAttributes": of_rule}]}])
    observed.run("operations.handlers.redrive", {"queue": "mail", "max": 1})
    key_range = {"streamArn": "arn:aws:dynamodb:stream", "shardId": "s", "startSequenceNumber": "1", "endSequenceNumber": "1"}
    keys = {"order_id": {"S": "ord_good"}, "version": {"N": "1"}}
    observed.lend(
        receive_message=[{"Messages": [{**dead_letter, "Body": json.dumps({"DDBStreamBatchInfo": key_range})}]}],
        get_shard_iterator={"ShardIterator": "i"},
        get_records={"Records": [{"eventName": "INSERT", "dynamodb": {"Keys": keys, "SequenceNumber": "1"}}]},
        put_events={"FailedEntryCount": 0, "Entries": []},
    )
    observed.run("operations.handlers.redrive", {"queue": "publish", "max": 1})
    observed.lend(receive_message=[{"Messages": [failed]}])
    observed.run("operations.handlers.redrive", {"queue": "operations", "max": 1})
    every_count(observed)
    every_remediation(observed)
    every_stream_failure(observed)
    every_webhook(observed)
    every_review(observed)


def every_remediation(observed: Observer) -> None:
    """Decide on alarms of every kind, and perform every action."""
    states = ((3, "DEPLOYING"), (2, "COMPLETE"), (1, "COMPLETE"))
    flags = [{"DeploymentNumber": number, "State": state, "ConfigurationVersion": "1"} for number, state in states]
    found: dict[str, Any] = {
        "describe_alarms": {"MetricAlarms": [{"StateValue": "ALARM"}]},
        "list_deployment_groups": {"deploymentGroups": ["group"]},
        "get_event_source_mapping": {"FunctionArn": "function"},
        "get_function_configuration": {"FunctionName": "function"},
        "get_queue_attributes": {"Attributes": {"ApproximateNumberOfMessages": "0"}},
        "filter_log_events": {"events": []},
        "receive_message": {"Messages": [{"MessageId": "1", "Body": "", "Attributes": {"SentTimestamp": "1"}}]},
        "create_hosted_configuration_version": {"VersionNumber": 3},
        "put_events": {"FailedEntryCount": 0, "Entries": []},
    }

    def lend() -> None:
        documents = [{"Content": io.BytesIO(b"{}")} for _ in range(9)]
        observed.lend(**found, list_deployments={"Items": flags, "deployments": ["d-1"]}, get_hosted_configuration_version=documents)

    alarms = [sample("operations/decide_remediation/unlisted")["alarm"]]
    queues = [dead_letters(name) for name in redrive_routes.routes("operations", topic="", saga="", workflows={redrive_routes.REVIEW: ""})]
    watched = [("ApproximateNumberOfMessagesVisible", queue) for queue in queues]
    watched += [("ApproximateAgeOfOldestMessage", queue) for queue in alarm_signals.LIMITS]
    metrics = [{"namespace": "AWS/SQS", "name": name, "dimensions": {"QueueName": f"order-pipeline-{queue}"}} for name, queue in watched]
    metrics += [{"namespace": "AWS/ApiGateway", "name": "5XXError", "dimensions": {"ApiName": "order-pipeline"}}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decide_remediation.CONSUMERS, "_mappings", dict.fromkeys(redrive_routes.QUEUES, "mapping"))
        for number, metric in enumerate(metrics):
            alarm = copy.deepcopy(alarms[0])
            alarm["detail"] |= {"alarmName": f"alarm-{number}", "configuration": {"metrics": [{"metricStat": {"metric": metric}}]}}
            lend()
            observed.run("operations.handlers.decide_remediation", {"alarm": alarm, "execution": "e"})
        raised = {"claim": {"S": "raise_concurrency ledger"}, "raised_to": {"N": "20"}, "restore_to": {"N": "10"}}
        observed.aws.dynamodb.client.put_item(TableName="Remediations", Item=raised)
        found["describe_alarms"] = {"MetricAlarms": [{"StateValue": "OK"}]}
        found["get_event_source_mapping"] |= {"ScalingConfig": {"MaximumConcurrency": 20}}
        recovered = sample("operations/decide_remediation/recovered")
        lend()
        observed.run("operations.handlers.decide_remediation", recovered)
    for action in ("raise_concurrency", "hold_orders", "roll_back_flags", "stop_release"):
        lend()
        decision = {"outcome": "perform", "action": {"action": action, "target": "x", "before": {"flags": "x"}, "number": 1}}
        given = {**sample("operations/remediate/refused"), "decision": decision}
        observed.run("operations.handlers.remediate", {name: value for name, value in given.items() if name != "result"})


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


def every_stream_failure(observed: Observer) -> None:
    """Fail a record in each stream consumer, and redrive a failed batch."""
    with pytest.MonkeyPatch.context() as patch:
        for module, queue in STREAM_CONSUMERS.items():
            consumer = importlib.import_module(module)
            patch.setattr(consumer, "FAILED_RECORDS", FailedRecordQueue(f"https://sqs.invalid/{queue}"))
            observed.run(module, {"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": ""}}]})
    key_range = {"streamArn": "arn:aws:kinesis:stream", "shardId": "s", "startSequenceNumber": "1", "endSequenceNumber": "1"}
    body = {"requestContext": {"functionArn": "arn:aws:lambda:r:a:function:ledger-post"}, "KinesisBatchInfo": key_range}
    observed.lend(
        receive_message=[{"Messages": [{"MessageId": "m", "ReceiptHandle": "r", "Body": json.dumps(body)}]}],
        get_shard_iterator={"ShardIterator": "i"},
        get_records={"Records": [{"SequenceNumber": "1", "Data": b'{"type": "PaymentAuthorized"}'}]},
    )
    observed.run("operations.handlers.redrive", {"queue": "ledger", "max": 1})


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
    every_call(observed)
    every_other_sample(observed)
    clients.lend()
    return observed.grants
