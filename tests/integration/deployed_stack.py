"""A deployed stack, used as customers and operators do: their actions and the results."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import msgspec

from devtools import web
from devtools.local import issuer, seed
from devtools.local.api_client import ApiClient, emails, is_final, order_body, state_of
from devtools.target import AWS, Target
from devtools.trial import sent_emails, users
from devtools.web import Answer
from inventory.domain.stock_rules import SHARDS
from orderflow.domain import events
from payments.provider import Authorized
from payments.sandbox.rules import Account
from tests.integration.capabilities import missing

# Maximum seconds of an order by target, on a busy machine: LocalStack starts a container per function.
MAX_SECONDS = {"embedded": 120.0, "localstack": 180.0, AWS: 300.0}
# No order of these tests has more events.
MAX_EVENTS = 40
# A burst of requests starts a worker for each: fifty cold starts on two cores.
ANSWER_SECONDS = 180.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 0.5

_accounts = msgspec.json.Decoder(Account)


def eventually[T](look: Callable[[], T], holds: Callable[[T], object] = bool, *, within: float, what: str) -> T:
    """Call `look` until its value `holds` and return the value; fail with `what` and the last value after `within` seconds."""
    deadline, pause = time.monotonic() + within, SHORTEST_PAUSE
    while not holds(seen := look()):
        if time.monotonic() > deadline:
            message = f"not within {within:.0f} s: {what}; last seen: {seen!r}"
            raise AssertionError(message)
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
    return seen


# Events of other consumers, at any time after the confirmation.
NOT_OF_THE_SAGA = {"ShipmentRequested", "InvoiceIssued", "CreditNoteIssued"}


def order_types(history: Sequence[dict[str, Any]]) -> list[str]:
    """Return the types of the saga's events, oldest first."""
    return [event["type"] for event in history if event["type"] not in NOT_OF_THE_SAGA]


class DeployedStack:
    """One deployed stack."""

    def __init__(self, target: Target) -> None:
        """Work on a target that is up, deployed and seeded."""
        self.target = target
        self.shop = ApiClient(target, timeout=ANSWER_SECONDS)
        self.patience = MAX_SECONDS[target.backend]
        self._users = dict[str, str]()

    def lacks(self, capability: str) -> bool:
        """Whether the target lacks a capability."""
        return any(missing(self.target, [capability]))

    def table(self, name: str) -> str:
        """The name of a table by its logical id, such as "OrderLog"."""
        return self.target.resources[name]

    @cached_property
    def dynamodb(self) -> Any:
        """The DynamoDB client."""
        return self.target.client("dynamodb")

    # Test data.

    def customer(self, name: str = "customer") -> str:
        """Create a unique customer with an order a month ago, so not new to the fraud rules."""
        user = self.sign_in(f"{name}-{uuid4().hex[:12]}")
        seed.add_history(self.target, [user.customer])
        return user.customer

    def sign_in(self, name: str, *groups: str) -> users.SignedIn:
        """Sign in a user by name, or a customer again by id; the shop's client uses the token from now on."""
        user = users.sign_in(self.target, self._users.get(name, name), groups)
        self._users[user.customer], self.shop.tokens[user.customer] = user.email, user.token
        return user

    def expired_token(self, customer: str) -> str:
        """Return a token of the local issuer that expired a minute ago."""
        return issuer.token(self.target, customer, expires_in=-60)

    def address(self, customer: str) -> str:
        """Return the email address of a customer that `customer` or `sign_in` returned."""
        return self._users[customer]

    def product(self, stock: int = 100, *, price: int = 1250, currency: str = "EUR", active: bool = True) -> str:
        """Create a unique product and return its sku; the price is in minor units."""
        return self.products(1, stock=stock, price=price, currency=currency, active=active)[0]

    def products(self, count: int, *, stock: int = 100, price: int = 1250, currency: str = "EUR", active: bool = True) -> list[str]:
        """Create several such products and return their skus."""
        skus = [f"T-{uuid4().hex[:12].upper()}" for _ in range(count)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda sku: self.add_product(sku, stock, price=price, currency=currency, active=active), skus))
        return skus

    def add_product(self, sku: str, stock: int, *, price: int, currency: str, active: bool = True) -> None:
        """Add a product with this stock to the catalogue."""
        row = {"sku": {"S": sku}, "name": {"S": f"Product {sku}"}, "unit_price": {"N": str(price)}}
        row |= {"currency": {"S": currency}, "active": {"BOOL": active}}
        self.dynamodb.put_item(TableName=self.table("Catalogue"), Item=row)
        self.dynamodb.put_item(
            TableName=self.table("Stock"), Item={"sku": {"S": sku}, "available": {"N": str(stock)}, "reserved": {"N": "0"}}
        )

    def categorize(self, category: str, *skus: str) -> None:
        """Set the category of products."""
        for sku in skus:
            self.dynamodb.update_item(
                TableName=self.table("Catalogue"),
                Key={"sku": {"S": sku}},
                UpdateExpression="SET category = :category",
                ExpressionAttributeValues={":category": {"S": category}},
            )

    def chill(self, sku: str, lowest: int, highest: int) -> None:
        """Set the range of temperatures that a product endures, in tenths of a degree Celsius."""
        self.dynamodb.update_item(
            TableName=self.table("Catalogue"),
            Key={"sku": {"S": sku}},
            UpdateExpression="SET temperature_range = :endures",
            ExpressionAttributeValues={":endures": {"M": {"lowest": {"N": str(lowest)}, "highest": {"N": str(highest)}}}},
        )

    # Actions of customers.

    def accept(self, customer: str, body: dict[str, Any], key: str | None = None) -> str:
        """Place an order, check that it is accepted, and return its id."""
        answer = self.shop.place(customer, body, key)
        assert answer.status == 201, answer
        return answer.json()["order_id"]

    def buy(self, customer: str, sku: str, quantity: int = 1, **order: str) -> str:
        """Order one product; `order` as in `order_body`."""
        return self.accept(customer, order_body((sku, quantity), **order))

    # Results.

    def ended(self, customer: str, order_id: str, *, within: float | None = None) -> list[dict[str, Any]]:
        """Wait for the order's final state and return its timeline."""
        return eventually(
            lambda: self.shop.events(customer, order_id),
            lambda history: is_final(state_of(history)),
            within=within or self.patience,
            what=f"{order_id} reaches its final state",
        )

    def outcome(self, customer: str, order_id: str, *, within: float | None = None) -> str:
        """Wait for the order's outcome and return it: confirmed, held or `rejected: reason`."""
        return state_of(self.ended(customer, order_id, within=within))

    def log(self, order_id: str) -> list[events.Event]:
        """Return the order's stored events; none for an order that was never accepted."""
        answer = self.dynamodb.query(
            TableName=self.table("OrderLog"),
            KeyConditionExpression="order_id = :id",
            ExpressionAttributeValues={":id": {"S": order_id}},
            ConsistentRead=True,
        )
        return [events.decode(item["event"]["S"]) for item in answer["Items"]]

    def entries(self, order_id: str) -> dict[str, dict[str, Any]]:
        """Return the order's stored journal entries by event id."""
        answer = self.dynamodb.query(
            TableName=self.table("LedgerEntries"),
            KeyConditionExpression="order_id = :id",
            ExpressionAttributeValues={":id": {"S": order_id}},
            ConsistentRead=True,
        )
        return {item["event_id"]["S"]: item for item in answer["Items"]}

    def analytics(self, path: str, **query: str) -> dict[str, Any]:
        """Return the answer that staff get: `sales` or `leaderboard`."""
        token = self.sign_in("sue", "staff").token
        answer = self.shop.call("GET", f"/analytics/{path}?{urlencode(query)}", None, Authorization=f"Bearer {token}")
        assert answer.status == 200, answer
        return answer.json()

    def best_sellers(self, **query: str) -> list[tuple[str, int]]:
        """The products of a leaderboard, best first, each with its units."""
        return [(one["sku"], one["units"]) for one in self.analytics("leaderboard", **query)["products"]]

    def stock(self, sku: str) -> tuple[int, int]:
        """The available and the reserved units of a product, over all stock shards."""
        shards = [{"sku": {"S": f"{sku}#{number}" if number else sku}} for number in range(SHARDS)]
        request: Any = {self.table("Stock"): {"Keys": shards, "ConsistentRead": True}}
        items = self.dynamodb.batch_get_item(RequestItems=request)["Responses"][self.table("Stock")]
        available, reserved = (sum(int(item[part]["N"]) for item in items) for part in ("available", "reserved"))
        return available, reserved

    def shard_stock(self, sku: str, units: Sequence[int]) -> None:
        """Shard a product's stock, with these units in each shard."""
        for number, available in enumerate(units):
            row: dict[str, Any] = {
                "sku": {"S": f"{sku}#{number}" if number else sku},
                "available": {"N": str(available)},
                "reserved": {"N": "0"},
            }
            self.dynamodb.put_item(TableName=self.table("Stock"), Item=row if number else row | {"shelves": {"N": str(len(units))}})

    def charges(self, order_id: str) -> list[Authorized]:
        """The payment provider's authorizations for an order, under any key."""
        return [payment for key, payment in self.authorized() if key.startswith(order_id)]

    def authorized(self) -> Iterator[tuple[str, Authorized]]:
        """Return the payment provider's payments by key."""
        for item in self.scan("SandboxPayments"):
            if "account" not in item:  # a row that lists a payment under the day of a refund
                continue
            payment = _accounts.decode(item["account"]["S"]).payment
            if isinstance(payment, Authorized):
                yield item["key"]["S"], payment

    def scan(self, table: str, **options: Any) -> Iterator[dict[str, Any]]:
        """All items of a table that the options select."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.table(table), ConsistentRead=True, **options)
        return (item for page in pages for item in page["Items"])

    def emails(self, order_id: str) -> list[dict[str, Any]]:
        """Wait for an order's emails and return them once the queue is empty."""
        eventually(lambda: self.sent(order_id), within=self.patience, what=f"an email about {order_id}")
        self.queue_drained("MailQueue")
        return self.sent(order_id)

    def sent(self, order_id: str) -> list[dict[str, Any]]:
        """Return the emails sent about an order; without an inbox, the events whose emails are recorded as sent."""
        if self.lacks("inbox"):
            return [{"event_id": event_id} for event_id in sorted(sent_emails.recorded(self.target, _event_ids(order_id)))]
        return [mail for mail in emails(self.target) if order_id in mail["Subject"]]

    def emailed(self, order_ids: Iterable[str]) -> Counter[str]:
        """Return the number of emails about each of these orders."""
        wanted = set(order_ids)
        if self.lacks("inbox"):
            sent = sent_emails.recorded(self.target, [event_id for order_id in wanted for event_id in _event_ids(order_id)])
            return Counter(event_id.partition(":")[0] for event_id in sent)
        return Counter(word for mail in emails(self.target) for word in mail["Subject"].split() if word in wanted)

    # Actions of operators.

    def queue_depth(self, output: str) -> int:
        """Return the number of a queue's messages, visible or in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.target.client("sqs").get_queue_attributes(QueueUrl=self.target.resources[output], AttributeNames=names)
        return sum(map(int, attributes["Attributes"].values()))

    @contextmanager
    def with_visibility_timeout(self, output: str, seconds: int) -> Iterator[None]:
        """Set a queue's visibility timeout within the context, so that failed messages are redelivered soon."""
        url, sqs = self.target.resources[output], self.target.client("sqs")
        before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(seconds)})
        try:
            yield
        finally:
            sqs.set_queue_attributes(QueueUrl=url, Attributes=before)

    def queue_drained(self, output: str) -> None:
        """Wait until a queue is empty."""
        eventually(lambda: self.queue_depth(output), lambda depth: depth == 0, within=self.patience, what=f"{output} is empty")

    def peek(self, output: str) -> list[str]:
        """Return the bodies of all messages in a queue without receiving them; on AWS, messages are received and stay visible."""
        query = urlencode({"QueueUrl": self.target.resources[output]})
        if self.target.backend == AWS:
            return self._received(self.target.resources[output])
        if self.target.backend == "embedded":
            answer = web.call("GET", f"{self.target.endpoint}/_ministack/sqs/messages?{query}").json()
            queues = [queue for regions in answer["messages"].values() for queues in regions.values() for queue in queues.values()]
            return [message["Body"] for queue in queues for message in queue]
        headers = {"Accept": "application/json"}
        answer = web.call("GET", f"{self.target.endpoint}/_aws/sqs/messages?{query}", headers=headers).json()
        found = answer["ReceiveMessageResponse"]["ReceiveMessageResult"]
        messages = (found or {}).get("Message", [])
        return [message["Body"] for message in (messages if isinstance(messages, list) else [messages])]

    def _received(self, url: str) -> list[str]:
        """Return the bodies of a queue's messages; receive until no new one is found."""
        sqs, found = self.target.client("sqs"), dict[str, str]()
        while True:
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, WaitTimeSeconds=1)
            new = {one["MessageId"]: one["Body"] for one in answer.get("Messages", [])}
            if new.keys() <= found.keys():
                return list(found.values())
            found |= new

    def invoke(self, function: str, request: dict[str, Any]) -> dict[str, Any]:
        """Invoke a function by its logical id and return its answer."""
        name = self.target.resources[function]
        answer = self.target.client("lambda").invoke(FunctionName=name, Payload=json.dumps(request).encode())
        payload = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload

    @contextmanager
    def configured(self, function: str, **variables: str) -> Iterator[None]:
        """Set environment variables of a function, given by its logical id, within the context."""
        client, name = self.target.client("lambda"), self.target.resources[function]
        before = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        try:
            self._configure(client, name, before | variables)
            yield
        finally:
            self._configure(client, name, before)

    def _configure(self, client: Any, name: str, variables: dict[str, str]) -> None:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

    def run_saga(self, order_id: str) -> None:
        """Start the saga for an order, as a rule's second delivery would."""
        first, *_ = self.log(order_id)
        ids = {"order_id": order_id, "correlation_id": first.correlation_id, "event_id": first.event_id}
        saga = self.target.resources["Fulfilment"]
        self.target.client("stepfunctions").start_execution(stateMachineArn=saga, input=json.dumps(ids))

    def sagas_not_started(self) -> AbstractContextManager[None]:
        """Remove the targets of the rule that starts sagas within the context."""
        return self.rule_without_targets("FulfilmentRule")

    @contextmanager
    def rule_without_targets(self, rule_id: str) -> Iterator[None]:
        """Remove the targets of a rule, given by its logical id, within the context. LocalEmu delivers the events of a disabled rule."""
        bus, client = self.target.resources["EventBus"], self.target.client("events")
        (name,) = [rule["Name"] for rule in client.list_rules(EventBusName=bus)["Rules"] if rule_id in rule["Name"]]
        rule = {"Rule": name, "EventBusName": bus}
        targets = client.list_targets_by_rule(**rule)["Targets"]
        client.remove_targets(**rule, Ids=[target["Id"] for target in targets])
        try:
            yield
        finally:
            client.put_targets(**rule, Targets=targets)


def _event_ids(order_id: str) -> list[str]:
    return [f"{order_id}:{version}" for version in range(1, MAX_EVENTS + 1)]


def postings(entry: dict[str, Any]) -> list[tuple[str, int]]:
    """The accounts of a ledger entry, each with its minor units."""
    return [(one["M"]["account"]["S"], int(one["M"]["amount"]["N"])) for one in entry["postings"]["L"]]


def same_answers(answers: Sequence[Answer]) -> bool:
    """Return whether all answers have the same status, body and location."""
    return len({(answer.status, answer.body, answer.headers.get("location")) for answer in answers}) == 1
