"""Payment events are posted once, poison messages are dead-lettered alone, and the audit finds falsified entries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from devtools.commands import parsed
from devtools.ops import trial_balance
from orderflow.aws.order_log import OrderLog
from orderflow.domain import events
from orderflow.domain.commands import (
    CloseDispute,
    Command,
    RecordCapture,
    RecordDispatch,
    RecordDispute,
    RecordLoss,
    RecordRefund,
    RecordRefundFailure,
)
from orderflow.domain.events import Event
from orderflow.domain.money import Money
from orderflow.domain.order import remaining
from tests.integration.deployed_stack import DeployedStack, eventually, postings
from tests.support import contracts
from tests.support.orders import POSTED_EVENTS

PRICE = 1250
# With the template's 180 s, five deliveries would take fifteen minutes.
VISIBILITY_SECONDS = 2


def _payment_events(stack: DeployedStack, order_id: str) -> list[Event]:
    return [event for event in stack.log(order_id) if event.type in POSTED_EVENTS]


def _posted(stack: DeployedStack, order_id: str) -> dict[str, dict[str, Any]]:
    """Wait until every payment event of an order has its entry, and return the entries."""
    return eventually(
        lambda: stack.entries(order_id),
        lambda found: found.keys() == {event.event_id for event in _payment_events(stack, order_id)},
        within=stack.patience,
        what=f"the entries of {order_id}",
    )


def _delivery(event: Event) -> str:
    """The message that the bus sends to the queue."""
    frame = {"version": "0", "id": str(uuid4()), "detail-type": event.type, "source": event.source, "account": "000000000000"}
    frame |= {"time": f"{event.occurred_at:%Y-%m-%dT%H:%M:%SZ}", "region": "us-east-1", "resources": []}
    return json.dumps(frame | {"detail": json.loads(events.encode(event))})


def _send(stack: DeployedStack, bodies: list[str]) -> None:
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
    url = stack.target.resources["LedgerQueue"]
    assert not stack.target.client("sqs").send_message_batch(QueueUrl=url, Entries=entries).get("Failed")


@pytest.fixture
def unknown_orders(stack: DeployedStack) -> Iterator[Callable[[], Event]]:
    """Creates authorizations of unknown orders and deletes their entries afterwards."""
    made: list[Event] = []

    def make() -> Event:
        made.append(_authorized())
        return made[-1]

    yield make
    for event in made:
        key = {"order_id": {"S": event.order_id}, "event_id": {"S": event.event_id}}
        stack.dynamodb.delete_item(TableName=stack.table("LedgerEntries"), Key=key)


def _authorized() -> Event:
    order_id = f"ord_{uuid4().hex[:26]}"
    return Event(
        event_id=f"{order_id}:4",
        type="PaymentAuthorized",
        schema_version=1,
        occurred_at=datetime.now(UTC),
        source="payments",
        correlation_id=f"test-{order_id}",
        causation_id=f"{order_id}:3",
        order_id=order_id,
        order_version=4,
        data=events.PaymentAuthorized("auth_test", Money(PRICE, "EUR")),
    )


@pytest.fixture
def confirmed(stack: DeployedStack) -> str:
    """A confirmed order of two products at 12.50."""
    customer = stack.customer()
    order_id = stack.buy(customer, stack.product(price=PRICE), 2)
    assert stack.outcome(customer, order_id) == "confirmed"
    return order_id


@pytest.fixture
def short_visibility(stack: DeployedStack) -> Iterator[None]:
    """The ledger's queue with a short visibility timeout."""
    with stack.with_visibility_timeout("LedgerQueue", VISIBILITY_SECONDS):
        yield


def test_confirmed_order_posts_its_authorization(stack: DeployedStack, confirmed: str):
    entries = _posted(stack, confirmed)
    (authorization,) = [entry for entry in entries.values() if entry["type"]["S"] == "PaymentAuthorized"]
    assert postings(authorization) == [("authorizations", 2 * PRICE), ("holds", -2 * PRICE)]


def test_rejected_order_leaves_no_amount_on_hold(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product(price=PRICE)
    order_id = stack.buy(customer, sku, payment="tok_declined")
    assert stack.outcome(customer, order_id) == "rejected: payment_declined"
    assert sum(amount for entry in _posted(stack, order_id).values() for account, amount in postings(entry) if account == "holds") == 0


def test_every_payment_event_is_posted(stack: DeployedStack, confirmed: str):
    """Other functions may append to the order at the same time; the ledger follows the log either way."""
    log = OrderLog(stack.table("OrderLog"), stack.dynamodb)

    def do(command: Callable[[str], Command]) -> None:
        order = log.load(confirmed)
        parcel = order.parcels[0].parcel_id if order.parcels else "parcel_1"
        log.record(order, command(parcel), source="payments")

    do(lambda parcel: RecordDispatch(parcel, remaining(log.load(confirmed))))
    do(lambda parcel: RecordCapture(parcel, "cap_test"))
    do(lambda _: RecordDispute("dp_test", Money(PRICE, "EUR"), "not received"))
    do(lambda _: CloseDispute("dp_test", "won"))
    do(lambda _: CloseDispute("dp_test", "lost"))
    do(lambda _: CloseDispute("dp_test", "won"))
    do(RecordLoss)
    do(lambda parcel: RecordRefund("ref_test", f"parcel:{parcel}"))
    [refund] = log.load(confirmed).refunds
    do(lambda _: RecordRefundFailure(refund.refund_id, refund.cause, refund.amount, "declined"))
    do(lambda parcel: RecordRefund("ref_again", f"parcel:{parcel}"))

    entries = _posted(stack, confirmed)
    assert {entry["type"]["S"] for entry in entries.values()} == POSTED_EVENTS - {"PaymentVoided"}
    assert all(sum(amount for _, amount in postings(entry)) == 0 for entry in entries.values())
    assert sum(amount for entry in entries.values() for account, amount in postings(entry) if account in {"revenue", "refunds"}) == 0


def test_redelivered_event_changes_nothing(stack: DeployedStack, confirmed: str, unknown_orders: Callable[[], Event]):
    before = _posted(stack, confirmed)
    marker = unknown_orders()

    _send(stack, [_delivery(event) for event in _payment_events(stack, confirmed) for _ in range(3)])
    _send(stack, [_delivery(marker)])
    eventually(lambda: stack.entries(marker.order_id), within=stack.patience, what="the entry of the marker")
    stack.queue_drained("LedgerQueue")

    assert stack.entries(confirmed) == before
    assert {found["place"] for found in trial_balance.audit(stack.target)["differences"]} == {marker.event_id}


def test_poison_message_is_dead_lettered_alone(stack: DeployedStack, short_visibility: None, unknown_orders: Callable[[], Event]):
    # A poll that started before the timeout changed hides its messages for the queue's original three minutes: await its end.
    before = unknown_orders()
    _send(stack, [_delivery(before)])
    eventually(lambda: stack.entries(before.order_id), within=stack.patience, what=f"the entry of {before.order_id}")
    good, poison = [unknown_orders() for _ in range(8)], f"not JSON {uuid4()}"
    bodies = [_delivery(event) for event in good]

    _send(stack, [*bodies[:4], poison, *bodies[4:]])

    for event in good:
        eventually(lambda event=event: stack.entries(event.order_id), within=stack.patience, what=f"the entry of {event.order_id}")
    eventually(
        lambda: poison in stack.peek("LedgerDeadLetters"),
        within=stack.patience + 10 * VISIBILITY_SECONDS,
        what="the poison is in the dead-letter queue",
    )
    waiting = "".join(stack.peek("LedgerDeadLetters"))
    assert not [event for event in good if event.order_id in waiting]


def test_ledger_audit_finds_a_falsified_entry(stack: DeployedStack, confirmed: str, capsys: pytest.CaptureFixture[str]):
    (authorization,) = _posted(stack, confirmed).values()
    event_id = authorization["event_id"]["S"]
    answer = trial_balance.audit(stack.target)
    assert (answer["outcome"], answer["differences"]) == ("proven", [])
    assert answer["balances"]["EUR"]["sum"] == 0
    assert trial_balance.main(parsed("trial-balance")) == 0

    with _listening(stack, "LedgerDifferenceFound") as received, _falsified(stack, authorization):
        found = _differences(stack, bool)
        assert {(one["kind"], one["place"], one["account"], one["found"] - one["expected"]) for one in found} == {
            ("event", event_id, "authorizations", 1),
            ("event", event_id, "holds", -1),
        }
        assert trial_balance.main(parsed("trial-balance")) == 1
        published = eventually(
            lambda: [event for event in received() if event["data"].items() >= {"place": event_id, "account": "holds"}.items()],
            within=stack.patience,
            what="the event of the difference",
        )
        assert [problem for event in published for problem in contracts.problems(event)] == []
    assert "trial balance" in capsys.readouterr().out
    assert _differences(stack, lambda found: not found) == []


def _differences(stack: DeployedStack, wanted: Callable[[list[Any]], bool]) -> list[dict[str, Any]]:
    """The audit's differences, once its eventually consistent index is current."""
    return eventually(
        lambda: trial_balance.audit(stack.target)["differences"], wanted, within=stack.patience, what="the audit's differences"
    )


@contextmanager
def _falsified(stack: DeployedStack, entry: dict[str, Any]) -> Iterator[None]:
    """Add a cent to both postings of an authorization."""

    def put(item: dict[str, Any]) -> None:
        stack.dynamodb.put_item(TableName=stack.table("LedgerEntries"), Item=item)

    wrong = [
        {"M": {"account": {"S": account}, "amount": {"N": str(amount + (1 if amount > 0 else -1))}}} for account, amount in postings(entry)
    ]
    put(entry | {"postings": {"L": wrong}})
    try:
        yield
    finally:
        put(entry)


@contextmanager
def _listening(stack: DeployedStack, detail_type: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Subscribe a queue to the bus; each call of the returned function receives the events since the last call."""
    sqs, rules, bus, name = stack.target.client("sqs"), stack.target.client("events"), stack.target.resources["EventBus"], f"test-{uuid4()}"
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rules.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps({"detail-type": [detail_type]}))
    rules.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "test", "Arn": arn}])

    def received() -> list[dict[str, Any]]:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        return [json.loads(message["Body"])["detail"] for message in messages]

    try:
        yield received
    finally:
        rules.remove_targets(Rule=name, EventBusName=bus, Ids=["test"])
        rules.delete_rule(Name=name, EventBusName=bus)
        sqs.delete_queue(QueueUrl=url)
