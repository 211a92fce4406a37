"""The drills: each causes one fault on the local stack and follows its runbook."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from devtools.local import seed
from devtools.local.api_client import ApiClient, emails, is_final, order_body, state_of
from devtools.ops import function_logs
from devtools.ops.flags import FlagStore
from devtools.target import Target
from orderflow.aws import dynamodb

SKU = "MUG-BLUE"
DENIAL = "denied-by-a-drill"
# Instead of minutes, so that a failing message is dead-lettered soon.
VISIBILITY_SECONDS = 1
ORDER_SECONDS = 5.0


@dataclass
class Scene:
    """The local stack during a drill. `undo` restores the stack at the end, also after a failure."""

    target: Target
    undo: ExitStack
    api: ApiClient = field(init=False)
    customer: str = field(init=False)

    def __post_init__(self) -> None:
        """Create a customer with an order history, which the fraud rules allow."""
        self.api = ApiClient(self.target, patience=30)
        self.customer = f"drill-{uuid4().hex[:12]}"
        seed.add_history(self.target, [self.customer])

    def buy(self) -> str:
        """Place an order and return its id."""
        return self.api.place(self.customer, order_body((SKU, 1))).json()["order_id"]

    def state(self, order_id: str) -> str:
        """Return an order's state."""
        return state_of(self.api.events(self.customer, order_id))

    def depth(self, queue: str) -> int:
        """Return how many messages a queue has, by its logical id."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.target.client("sqs").get_queue_attributes(QueueUrl=self.target.resources[queue], AttributeNames=names)
        return sum(map(int, answer["Attributes"].values()))

    def is_requested(self, order_id: str) -> bool:
        """Return whether the order's shipment was requested."""
        return any(event["type"] == "ShipmentRequested" for event in self.api.events(self.customer, order_id))

    def redrive(self, queue: str) -> None:
        """Redrive a dead-letter queue, as `make redrive` does."""
        self.target.invoke("OperationsRedrive", {"queue": queue, "max": 100})

    def shorten_visibility(self, queue: str) -> None:
        """Make a queue redeliver failed messages after a second, until the end of the drill."""
        sqs, url = self.target.client("sqs"), self.target.resources[queue]
        before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)})
        self.undo.callback(sqs.set_queue_attributes, QueueUrl=url, Attributes=before)

    def deny_tables(self, function: str) -> Callable[[], object]:
        """Deny a function every table; return a function that removes the denial."""
        iam, name = self.target.client("iam"), self.target.resources[function]
        role = self.target.client("lambda").get_function_configuration(FunctionName=name)["Role"].rpartition("/")[2]
        statement = {"Effect": "Deny", "Action": "dynamodb:*", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=role, PolicyName=DENIAL, PolicyDocument=document)
        return self._restoring(lambda: iam.delete_role_policy(RoleName=role, PolicyName=DENIAL))

    def configure(self, function: str, **variables: str) -> Callable[[], object]:
        """Change a function's environment variables; return a function that restores them."""
        functions, name = self.target.client("lambda"), self.target.resources[function]
        before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]

        def put(values: dict[str, str]) -> None:
            functions.update_function_configuration(FunctionName=name, Environment={"Variables": values})
            functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
            for alias in functions.list_aliases(FunctionName=name)["Aliases"]:
                version = functions.publish_version(FunctionName=name)["Version"]
                functions.update_alias(FunctionName=name, Name=alias["Name"], FunctionVersion=version)

        put(before | variables)
        return self._restoring(lambda: put(before))

    def switch_off_rule(self, rule: str) -> Callable[[], object]:
        """Disable a rule of the bus; return a function that enables it."""
        events, bus = self.target.client("events"), self.target.resources["EventBus"]
        [name] = [one["Name"] for one in events.list_rules(EventBusName=bus)["Rules"] if rule in one["Name"]]
        events.disable_rule(Name=name, EventBusName=bus)
        return self._restoring(lambda: events.enable_rule(Name=name, EventBusName=bus))

    def switch_off_mapping(self, mapping: str) -> Callable[[], object]:
        """Disable an event source mapping; return a function that enables it."""
        functions, uuid = self.target.client("lambda"), self.target.resources[mapping]
        functions.update_event_source_mapping(UUID=uuid, Enabled=False)
        return self._restoring(lambda: functions.update_event_source_mapping(UUID=uuid, Enabled=True))

    def _restoring(self, restore: Callable[[], object]) -> Callable[[], object]:
        """Return a function that restores once; the end of the drill calls it if the drill has not."""
        calls = [restore]

        def once() -> None:
            while calls:
                calls.pop()()

        self.undo.callback(once)
        return once


@dataclass(frozen=True)
class Course:
    """The course of a drill: when the alarm is due, the runbook's steps, and the condition under which the stack is healthy."""

    is_broken: Callable[[], bool]
    step: str
    do: Callable[[], object]
    is_healthy: Callable[[], bool]


@dataclass(frozen=True)
class Drill:
    """A drill: its name, the fault, the alarm (without the stack's name), the section of docs/runbooks.md and the injection."""

    name: str
    fault: str
    alarm: str
    runbook: str
    begin: Callable[[Scene], Course]


def _request_fails(scene: Scene, restore: Callable[[], object], step: str) -> Course:
    scene.shorten_visibility("ShippingRequestQueue")
    order_id = scene.buy()

    def do() -> None:
        restore()
        scene.redrive("shipping-request")

    return Course(
        lambda: scene.depth("ShippingRequestDeadLetters") > 0,
        f"{step}, then make redrive QUEUE=shipping-request",
        do,
        lambda: scene.depth("ShippingRequestDeadLetters") == 0 and scene.state(order_id) == "confirmed" and scene.is_requested(order_id),
    )


def _consumer(scene: Scene) -> Course:
    return _request_fails(scene, scene.deny_tables("ShippingRequest"), "allow the function its table again")


def _release(scene: Scene) -> Course:
    return _request_fails(scene, scene.configure("ShippingRequest", SANDBOX_SHIPMENTS_TABLE="renamed"), "roll the release back")


def _poison(scene: Scene) -> Course:
    scene.shorten_visibility("MailQueue")
    sqs, urls = scene.target.client("sqs"), scene.target.resources
    sqs.send_message(QueueUrl=urls["MailQueue"], MessageBody="not JSON")
    order_id = scene.buy()
    return Course(
        lambda: scene.depth("MailDeadLetters") > 0,
        "read the malformed message, then delete it",
        lambda: sqs.purge_queue(QueueUrl=urls["MailDeadLetters"]),
        lambda: scene.depth("MailDeadLetters") == 0 and any(order_id in email["Subject"] for email in emails(scene.target)),
    )


def _saga(scene: Scene) -> Course:
    switch_on = scene.switch_off_rule("FulfilmentRule")
    order_id = scene.buy()
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    scene.target.client("dynamodb").update_item(
        TableName=scene.target.resources["OrderLog"],
        Key=dynamodb.key(order_id=order_id, version=1),
        UpdateExpression="SET open_since = :since",
        ExpressionAttributeValues=dynamodb.values(since=an_hour_ago),
    )

    def do() -> None:
        switch_on()
        scene.target.invoke("OperationsRecover", {})

    return Course(lambda: True, "switch the rule on; the sweeper runs the saga again", do, lambda: scene.state(order_id) == "confirmed")


def _provider(scene: Scene) -> Course:
    restore = scene.deny_tables("PaymentsAuthorize")
    order_id = scene.buy()
    function = scene.target.resources["PaymentsAuthorize"]

    def failed() -> bool:
        lines = function_logs.read(scene.target, [function])
        return any(line.fields.get("order_id") == order_id and line.fields.get("level") == "ERROR" for line in lines)

    return Course(failed, "wait for the provider: the saga retries for a minute", restore, lambda: scene.state(order_id) == "confirmed")


def _flag(scene: Scene) -> Course:
    store = FlagStore(scene.target.client("appconfig"), scene.target.resources)
    before = store.served().document
    scene.undo.callback(lambda: store.served().document == before or store.deploy(before, immediate=True))
    # A deployment to which the bad one can be rolled back.
    store.deploy(before | {"hold_countries": []}, immediate=True)
    store.deploy(before | {"hold_countries": ["GB"]}, immediate=True)
    # New processes read the flags at once.
    scene.configure("FraudScreen", FLAGS_TTL_SECONDS="15")
    orders = [(scene.buy(), time.monotonic())]

    def ends(*wanted: str) -> bool:
        """Return whether the newest order is in one of these states; place another one where it ended otherwise."""
        order_id, placed = orders[-1]
        state = scene.state(order_id)
        # A customer may have few unpaid orders.
        if state not in wanted and is_final(state) and time.monotonic() - placed > ORDER_SECONDS:
            orders.append((scene.buy(), time.monotonic()))
        return state in wanted

    return Course(
        lambda: ends("held", "rejected: fraud_refused"),
        "check that the flags were rolled back, otherwise make flags SET=…",
        lambda: store.served().document.get("hold_countries") != ["GB"] or store.deploy(before, immediate=True),
        lambda: ends("confirmed"),
    )


def _stream(scene: Scene) -> Course:
    switch_on = scene.switch_off_mapping("OrdersPublishAppended")
    order_id = scene.buy()
    since = datetime.now(UTC)
    key = {"key": dynamodb.key(order_id=order_id, version=1)}

    def do() -> None:
        scene.target.client("sqs").send_message(QueueUrl=scene.target.resources["PublishDeadLetters"], MessageBody=json.dumps(key))
        scene.redrive("publish")
        switch_on()

    return Course(
        lambda: datetime.now(UTC) - since > timedelta(seconds=3) and len(scene.api.events(scene.customer, order_id)) == 1,
        "send the lost events' keys to publish-dead-letters, then make redrive QUEUE=publish",
        do,
        lambda: scene.state(order_id) == "confirmed" and scene.depth("PublishDeadLetters") == 0,
    )


DRILLS = (
    Drill("consumer", "a consumer fails at every message", "shipping-request-dead-letters", "dead-letters", _consumer),
    Drill("poison", "a message that no consumer can read", "mail-dead-letters", "dead-letters", _poison),
    Drill("saga", "an order whose saga never started", "stuck-orders", "stuck-orders", _saga),
    Drill("provider", "the payment provider is down", "payments-authorize-errors", "step-errors", _provider),
    Drill("flag", "a feature flag holds every order to one country", "fraud-screen-errors", "step-errors", _flag),
    Drill("release", "a release of a consumer names a table that does not exist", "shipping-request-dead-letters", "release", _release),
    Drill("stream", "the publisher lost its position in the order log's stream", "outbox-lag", "stream-lag", _stream),
)
BY_NAME: dict[str, Drill] = {drill.name: drill for drill in DRILLS}


def delete_claims(target: Target) -> None:
    """Delete the claims of performed remediations, so that a drill can be repeated within the cool-down."""
    client, table = target.client("dynamodb"), target.resources["Remediations"]
    for item in client.scan(TableName=table)["Items"]:
        client.delete_item(TableName=table, Key={"claim": item["claim"]})


def outcome(target: Target, execution: str) -> dict[str, Any] | None:
    """Return the report of a remediation, or None while it runs."""
    found = target.client("stepfunctions").describe_execution(executionArn=execution)
    if found["status"] == "RUNNING":
        return None
    return json.loads(found.get("output") or "{}").get("report", {}).get("value", {"outcome": found["status"].lower(), "message": ""})
