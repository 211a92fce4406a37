"""The pipeline in one process: the real functions on the in-memory AWS, triggered as by AWS.

Clients retry 5xx answers. The stream redelivers a batch until the publisher succeeds. The bus starts sagas,
which run the workflow's definition; a crashed function is a failed task. At the end recovery runs until no
order is active.
"""

from __future__ import annotations

import base64
import importlib
import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from devtools.products import BY_SKU
from orderflow.aws.order_log_items import active_shards
from tests.conftest import ENVIRONMENT
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, Parameters
from tests.fakes.aws.environment import TABLES, Aws
from tests.fakes.aws.eventbridge import FakeEventBridge
from tests.fakes.aws.kinesis import FakeKinesis
from tests.fakes.aws.sns import FakeSns
from tests.fakes.aws.sqs import FakeSqs
from tests.fakes.aws.stepfunctions import FakeStepFunctions
from tests.faults.asl import ExecutionFailed, Machine, TaskFailed
from tests.faults.faults import CARRIER, PROVIDER, Call, Disturbance, target_of
from tests.faults.reviews import Reviews
from tests.support import webhooks
from tests.support.runtime import CONTEXT
from tests.support.samples import sample

WORKFLOW = Machine(Path(__file__).resolve().parents[2] / "workflows" / "fulfilment.asl.json")
STARTS_SAGA = {"OrderPlaced", "OrderReviewApproved", "OrderReviewRejected", "CancellationRequested"}
ATTEMPTS = 8
OPEN = active_shards("open")
RECORD_QUEUE = ENVIRONMENT["SHIPPING_RECORD_QUEUE_URL"]
STOCK = {"MUG-BLUE": 100, "FILTER-100": 100, "ESPRESSO-PRO": 10, "SOLD-OUT-LAMP": 0, "LAST-ITEM-CLOCK": 1}

STEPS = {
    "InventoryReserve": "inventory.handlers.reserve_stock",
    "FraudScreen": "fraud.handlers.screen_order",
    "PaymentsAuthorize": "payments.handlers.authorize_payment",
    "OrdersConfirm": "orders.handlers.confirm_order",
    "OrdersFail": "orders.handlers.record_failure",
    "ShippingRecall": "shipping.handlers.recall_shipment",
    "PaymentsVoid": "payments.handlers.void_payment",
    "InventoryRelease": "inventory.handlers.release_stock",
    "OrdersFinalize": "orders.handlers.finalize_order",
}
REVIEW_STEPS = {
    "ReviewsOpen": "reviews.handlers.open_review",
    "ReviewsWait": "reviews.handlers.store_task_token",
    "ReviewsExpire": "reviews.handlers.expire_review",
}

CONSUMERS = {
    "ShippingRequest": ("shipping.handlers.request_shipment", {"OrderConfirmed", "CancellationFailed"}),
    "PaymentsSettle": ("payments.handlers.settle_payment", {"ShipmentDispatched", "ShipmentLost", "ReturnReceived", "OrderLinesCancelled"}),
    "ReviewsClose": ("reviews.handlers.close_review", {"OrderReviewApproved", "OrderReviewRejected", "CancellationRequested"}),
}

# Consumers fed by the stream; they retry failed records from their queue.
STREAMED = {"InventorySettle": ("inventory.handlers.sync_stock", {"ShipmentDispatched", "ReturnReceived"})}

type Handler = Callable[[Any, Any], Any]
# Module and event types of consumers, by logical id.
type Consumers = Mapping[str, tuple[str, Collection[str]]]


@dataclass(frozen=True)
class Functions:
    """A set of handlers by logical id."""

    handlers: Mapping[str, Handler]

    def __getitem__(self, name: str) -> Handler:
        """Return the handler of a function."""
        return self.handlers[name]


def real_functions() -> Functions:
    """Return the pipeline's own handlers."""
    consumers = {name: module for name, (module, _) in (CONSUMERS | STREAMED).items()}
    modules = {
        **STEPS,
        **REVIEW_STEPS,
        **consumers,
        "OrdersPlace": "orders.handlers.place_order",
        "OrdersCancel": "orders.handlers.cancel_order",
        "OrdersCreateReturn": "orders.handlers.create_return",
        "OrdersPublish": "orders.handlers.publish",
        "InventoryExpire": "inventory.handlers.expire_reservations",
        "OperationsRecover": "operations.handlers.recover_orders",
        "ReviewsDecide": "reviews.handlers.decide_review",
        "OperationsReconcile": "operations.handlers.publish_missing_events",
        "ShippingRecord": "shipping.handlers.retry_carrier_events",
        "ShippingWebhook": "shipping.handlers.receive_webhook",
    }
    return Functions({name: importlib.import_module(module).handler for name, module in modules.items()})


class NeverAnswered(AssertionError):
    """A client or the stream reached its retry limit."""


@dataclass
class Simulation:
    """One run. `broken` functions fail at every invocation, and Lambda throttles `throttled` ones; `attempts` is botocore's number of them.

    `post_fulfilment_from` is the number of the first call after the confirmation that all paths share.
    """

    functions: Functions
    disturbance: Disturbance = field(default_factory=Disturbance)
    attempts: int = 1
    broken: set[str] = field(default_factory=set[str])
    throttled: set[str] = field(default_factory=set[str])
    consumers: Consumers = field(default_factory=lambda: CONSUMERS)
    streamed_consumers: Consumers = field(default_factory=lambda: STREAMED)
    aws: Aws = field(init=False)
    answers: list[Any] = field(default_factory=list[Any])
    cancellations: list[Any] = field(default_factory=list[Any])
    invoked: list[str] = field(default_factory=list[str])
    failed: list[str] = field(default_factory=list[str])
    dead_letters: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    reviews: Reviews = field(init=False)
    post_fulfilment_from: int = 0
    _published: int = 0
    _seen: int = 0
    _streamed: int = 0
    _parked: int = 0
    _local: threading.local = field(default_factory=threading.local)

    def __post_init__(self) -> None:
        """Seed catalog and stock."""
        times = self.attempts
        bus, queues, workflows, topics = FakeEventBridge(times), FakeSqs(times), FakeStepFunctions(times), FakeSns(times)
        self.aws = Aws(FakeDynamoDB(*TABLES, attempts=times), bus, queues, workflows, sns=topics, kinesis=FakeKinesis(times))
        self.reviews = Reviews(self)
        for sku, available in STOCK.items():
            self.aws.dynamodb.seed("Catalogue", BY_SKU[sku].catalogue_row())
            self.aws.dynamodb.seed("Stock", BY_SKU[sku].stock_row(available))
        services = {
            "dynamodb": self.aws.dynamodb,
            "events": self.aws.events,
            "sqs": self.aws.sqs,
            "stepfunctions": self.aws.stepfunctions,
            "sns": self.aws.sns,
            "kinesis": self.aws.kinesis,
        }
        for name, service in services.items():
            service.before, service.after = self.hooks(name)
        self.disturbance.refuse = self._refuse_entry
        self.aws.lend()

    def hooks(self, service: str) -> tuple[Any, Any]:
        """Return the hooks before and after a service's calls, which inject faults."""

        def before(operation: str, parameters: Any) -> None:
            self.disturbance.before(Call(self.current, service, operation, target_of(parameters)), parameters)

        def after(operation: str, parameters: Any) -> None:
            self.disturbance.after(Call(self.current, service, operation, target_of(parameters)), parameters)

        return before, after

    def _refuse_entry(self, call: Call) -> None:
        service = self.aws.events if call.service == "events" else self.aws.kinesis
        service.refuse = {service.arrived}

    @property
    def current(self) -> str:
        """Return the function that runs in this thread."""
        return getattr(self._local, "current", "")

    def around_provider(self, name: str, method: Callable[[], Any]) -> Any:
        """Make a request to the payment provider with fault injection."""
        return self._around(Call(self.current, PROVIDER, name), method)

    def around_carrier(self, name: str, method: Callable[[], Any]) -> Any:
        """Make a request to the carrier with fault injection."""
        return self._around(Call(self.current, CARRIER, name), method)

    def _around(self, call: Call, method: Callable[[], Any]) -> Any:
        token: Parameters = {}
        self.disturbance.before(call, token)
        try:
            return method()
        finally:
            self.disturbance.after(call, token)

    def invoke(self, name: str, event: Any) -> Any:
        """Invoke a function as the Lambda service does, with a copy of the event.

        Raises:
            TaskFailed: the function failed or crashed.
        """
        if name in self.broken or name in getattr(self._local, "broken", ()):
            raise TaskFailed("Broken")
        if name in self.throttled:
            raise TaskFailed("Lambda.TooManyRequestsException")
        self.invoked.append(name)
        before, self._local.current = self.current, name
        try:
            return self.functions[name](msgspec.json.decode(msgspec.json.encode(event, enc_hook=str)), CONTEXT)
        except Crash:
            raise TaskFailed("Lambda.Unknown") from None
        except Exception as error:
            raise TaskFailed(type(error).__name__) from error
        finally:
            self._local.current = before

    def post(self, request: Any) -> Any:
        """Send `POST /orders` as a client that retries 5xx answers."""
        answer = self._answer("OrdersPlace", request)
        self.answers.append(answer)
        return answer

    def cancel(self, request: Any) -> Any:
        """Send `POST /orders/{order_id}/cancellation` as `post` does."""
        answer = self._answer("OrdersCancel", request)
        self.cancellations.append(answer)
        return answer

    def create_return(self, request: Any) -> Any:
        """Send `POST /orders/{order_id}/returns` in the same way."""
        return self._answer("OrdersCreateReturn", request)

    def send(self, body: bytes) -> None:
        """Send the carrier's message to its function URL in the same way."""
        request = sample("shipping/receive_webhook/unsigned") | {"body": body.decode()}
        request["headers"] |= webhooks.headers(body)
        self._answer("ShippingWebhook", request)

    def deliver_webhook(self, body: bytes) -> None:
        """Send the carrier's webhook, and deliver the queue to its consumer."""
        self.send(body)
        for message in self.aws.sqs.sent.pop(RECORD_QUEUE, []):
            self.deliver_message("ShippingRecord", json.dumps(message))

    def _answer(self, function: str, request: Any) -> Any:
        for _ in range(ATTEMPTS):
            try:
                answer = self.invoke(function, request)
            except TaskFailed:
                continue
            if answer["statusCode"] < 500:
                return answer
        raise NeverAnswered(function)

    def publish(self) -> None:
        """Deliver new stream records to the publisher until the batch succeeds."""
        records = self.aws.dynamodb.changes["OrderLog"]
        batch, until = records[self._published :], len(records)
        self.deliver([record for record in batch if record["eventName"] == "INSERT"])
        self._published = until

    def deliver(self, batch: list[Any]) -> None:
        """Deliver a stream batch to the publisher until it succeeds."""
        for _ in range(ATTEMPTS * bool(batch)):
            try:
                self.invoke("OrdersPublish", {"Records": batch})
            except TaskFailed:
                continue
            return
        if batch:
            raise NeverAnswered("the stream's batch")

    def process_all(self) -> None:
        """Publish new events, run the started sagas and deliver to consumers, until there are no new events."""
        self.publish()
        while self._process_next():
            self.publish()

    def _process_next(self) -> bool:
        """Process the next event of the bus and of the stream; return whether either had one."""
        found = False
        if self._streamed < len(self.aws.kinesis.records):
            record = self.aws.kinesis.records[self._streamed]
            self._streamed += 1
            found = True
            for name, (_, types) in self.streamed_consumers.items():
                if json.loads(record["Data"])["type"] in types:
                    self.stream(name, record)
        if self._seen < len(self.aws.events.entries):
            found = True
            entry = self.aws.events.entries[self._seen]
            self._seen += 1
            if entry["DetailType"] in STARTS_SAGA:
                self.saga(json.loads(entry["Detail"]))
            for name, (_, types) in self.consumers.items():
                if entry["DetailType"] in types:
                    self.deliver_event(name, entry["Detail"])
            self.reviews.react(entry["DetailType"], json.loads(entry["Detail"]))
        return found

    def stream(self, name: str, record: Any) -> None:
        """Deliver a record of the stream to a consumer until it succeeds; failed records are retried from its queue."""
        data = base64.b64encode(record["Data"]).decode()
        for _ in range(ATTEMPTS):
            with suppress(TaskFailed):
                self.invoke(name, {"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": data}}]})
                break
        else:
            # A redrive sends the records of Lambda's failure message to the consumer's queue.
            self.dead_letters.append((name, json.dumps({"detail": json.loads(record["Data"])})))
        parked = self.aws.sqs.sent.get(ENVIRONMENT["RETRY_QUEUE_URL"], [])
        while self._parked < len(parked):
            self._parked += 1
            self.deliver_message(name, json.dumps(parked[self._parked - 1]))

    def deliver_event(self, name: str, detail: str) -> None:
        """Deliver an event to a consumer with its queue's retries, then to its dead-letter queue."""
        self.deliver_message(name, json.dumps({"detail": json.loads(detail)}))

    def deliver_message(self, name: str, body: str) -> None:
        """Deliver a message to a consumer as `deliver_event` does."""
        if not any(self.try_once(name, body, receive) for receive in range(1, ATTEMPTS + 1)):
            self.dead_letters.append((name, body))

    def try_once(self, name: str, body: str, receive: int = 1) -> bool:
        """Deliver a message to a consumer once; return whether it succeeded."""
        attributes = {"ApproximateReceiveCount": str(receive)}
        message = {"messageId": "message-1", "receiptHandle": "r", "body": body, "attributes": attributes, "eventSource": "aws:sqs"}
        try:
            return not self.invoke(name, {"Records": [message]})["batchItemFailures"]
        except TaskFailed:
            return False

    def redrive(self) -> None:
        """Redrive every dead letter to its consumer."""
        dead_letters, self.dead_letters = self.dead_letters, []
        for name, body in dead_letters:
            self.deliver_message(name, body)
        self.process_all()

    def saga(self, detail: Any) -> None:
        """Run the fulfilment workflow once, and record its failure."""
        try:
            WORKFLOW.run(detail, self.task)
        except ExecutionFailed as failed:
            self.failed.append(failed.error)

    def task(self, resource: str, parameters: Any, workflow: str = "Fulfilment") -> Any:
        """Run a task of a workflow. Raises TaskFailed."""
        if ":lambda:invoke" in resource:
            name = parameters["FunctionName"].removeprefix("${").removesuffix("}")
            return {"Payload": self.invoke(name, parameters["Payload"])}
        before, self._local.current = self.current, workflow
        try:
            match resource.rpartition(":::")[2]:
                case "sqs:sendMessage":
                    return self.aws.sqs.send_message(QueueUrl=parameters["QueueUrl"], MessageBody=json.dumps(parameters["MessageBody"]))
                case _:
                    assert resource.endswith("sns:publish"), resource
                    return self.aws.sns.publish(**parameters)
        except (Exception, Crash) as error:
            raise TaskFailed(type(error).__name__) from error
        finally:
            self._local.current = before

    def clear_messages(self) -> None:
        """Drop the records of published events, sent messages and invocations, to limit memory; all must be processed."""
        assert (self._seen, self._streamed) == (len(self.aws.events.entries), len(self.aws.kinesis.records))
        aws = self.aws
        for records in (*aws.dynamodb.changes.values(), aws.events.entries, aws.events.batches, aws.kinesis.records, aws.kinesis.batches):
            records.clear()
        for records in (self.invoked, self.answers, self.cancellations, aws.sns.published, self.reviews.answers):
            records.clear()
        aws.sqs.sent.clear()
        self._published = self._seen = self._streamed = self._parked = 0
        self.reviews.drop_ended()

    def placed(self, order: int = 0) -> Any:
        """Return the first logged event of the n-th order."""
        first = [item for item in self.aws.dynamodb.items("OrderLog") if item["version"]["N"] == "1"]
        return json.loads(first[order]["event"]["S"])

    def sweep(self) -> int:
        """Run recovery until no order is active or it has no effect; return the number of sagas."""
        run = 0
        for _ in range(ATTEMPTS):
            if not any(item.get("open_shard", {}).get("S") in OPEN for item in self.aws.dynamodb.items("OrderLog")):
                break
            self.invoke("OperationsRecover", {})
            started, self.aws.stepfunctions.started = self.aws.stepfunctions.started, []
            for given in started:
                run += 1
                self.saga(given)
            self.process_all()
        return run

    def expire(self) -> None:
        """Run the expiry schedule until it succeeds or has no effect."""
        for _ in range(ATTEMPTS):
            with suppress(TaskFailed):
                self.invoke("InventoryExpire", {})
                return

    @contextmanager
    def broken_function(self, name: str) -> Iterator[None]:
        """Fail a function within the context, for this thread."""
        self._local.broken = {name}
        try:
            yield
        finally:
            self._local.broken = set[str]()
