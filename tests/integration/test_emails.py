"""The email queue: a poison message is dead-lettered alone and redriven, and no email is sent twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest
from msgspec.structs import replace

from devtools.trial import users
from orderflow.aws.idempotency import OncePerEvent
from orderflow.domain import events
from tests.integration.deployed_stack import DeployedStack, eventually
from tests.support.orders import CONFIRMED, history

BATCH = 10
# With the template's 180 s, five deliveries would take fifteen minutes.
VISIBILITY_SECONDS = 2


def _confirmed(order_id: str) -> events.Event:
    *_, confirmed = history(*CONFIRMED, order_id=order_id)
    data = replace(confirmed.data, customer=events.Customer("ann", users.SIMULATOR.format("ann")))
    return replace(confirmed, occurred_at=datetime.now(UTC), correlation_id=f"test-{order_id}", data=data)


def _delivery(event: events.Event) -> str:
    """Return the message that the topic sends to the queue."""
    frame = {"version": "0", "id": str(uuid4()), "detail-type": event.type, "source": event.source, "account": "000000000000"}
    frame |= {"time": f"{event.occurred_at:%Y-%m-%dT%H:%M:%SZ}", "region": "us-east-1", "resources": []}
    return json.dumps(frame | {"detail": json.loads(events.encode(event))})


def _order_id() -> str:
    return f"ord_{uuid4().hex[:26]}"


@pytest.fixture
def short_visibility(stack: DeployedStack) -> Iterator[str]:
    """The email queue with a short visibility timeout."""
    url, sqs = stack.target.resources["MailQueue"], stack.target.client("sqs")
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)})
    try:
        yield url
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


@contextmanager
def _function_stopped(stack: DeployedStack) -> Iterator[None]:
    """Disable the email function's trigger, so that messages form one batch."""
    client = stack.target.client("lambda")
    (mapping,) = client.list_event_source_mappings(FunctionName=stack.target.resources["NotificationsMail"])["EventSourceMappings"]

    def switch(*, enabled: bool) -> None:
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)
        eventually(
            lambda: client.get_event_source_mapping(UUID=mapping["UUID"])["State"],
            lambda state: state == ("Enabled" if enabled else "Disabled"),
            within=stack.patience,
            what="the event source mapping is switched",
        )

    switch(enabled=False)
    try:
        yield
    finally:
        switch(enabled=True)


def _send(stack: DeployedStack, url: str, bodies: list[str]) -> None:
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
    answer = stack.target.client("sqs").send_message_batch(QueueUrl=url, Entries=entries)
    assert not answer.get("Failed")


class _WorkerCrashed(BaseException):
    """Simulates the end of a worker process, which no exception handler catches."""


class _Hour:
    """A Lambda context with an hour left."""

    def get_remaining_time_in_millis(self) -> int:
        return 3600 * 1000


def _claim(stack: DeployedStack, event: events.Event) -> str:
    """Write the idempotency record of a worker that crashed while sending the event's email, and return its id."""

    def crash() -> str:
        raise _WorkerCrashed

    before = _claims(stack)
    once = OncePerEvent[str]("mail", stack.table("MailIdempotency"), stack.dynamodb, effect_seconds=1)
    with pytest.raises(_WorkerCrashed):
        once.perform(event, crash, cast("Any", _Hour()))
    (claim,) = _claims(stack) - before
    return claim


def _claims(stack: DeployedStack) -> set[str]:
    found = stack.scan(
        "MailIdempotency",
        FilterExpression="#status = :status",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":status": {"S": "INPROGRESS"}},
    )
    return {item["id"]["S"] for item in found}


def _is_dead_lettered(stack: DeployedStack, event: events.Event) -> bool:
    return any(event.order_id in body for body in stack.peek("MailDeadLetters"))


def test_poison_message_in_a_batch_is_redriven_alone(stack: DeployedStack, short_visibility: str):
    *good, poisoned = [_confirmed(_order_id()) for _ in range(BATCH)]
    # A worker crashed while it processed this event, so that its claim has not expired.
    claim = _claim(stack, poisoned)
    with _function_stopped(stack):
        _send(stack, short_visibility, [_delivery(event) for event in [*good[:4], poisoned, *good[4:]]])

    eventually(lambda: all(stack.sent(event.order_id) for event in good), within=stack.patience, what="nine emails")
    eventually(
        lambda: _is_dead_lettered(stack, poisoned),
        within=stack.patience + 10 * VISIBILITY_SECONDS,
        what="the poisoned message is in the dead-letter queue",
    )
    assert not stack.sent(poisoned.order_id)

    stack.dynamodb.delete_item(TableName=stack.table("MailIdempotency"), Key={"id": {"S": claim}})
    answer = stack.invoke("OperationsRedrive", {"queue": "mail", "max": 100})

    assert answer["moved"] >= 1
    assert len(stack.emails(poisoned.order_id)) == 1
    assert [len(stack.emails(event.order_id)) for event in good] == [1] * len(good)
    assert not _is_dead_lettered(stack, poisoned)


@pytest.mark.needs("inbox")
def test_redelivered_event_sends_no_second_email(stack: DeployedStack):
    event, marker = _confirmed(_order_id()), _confirmed(_order_id())
    url = stack.target.resources["MailQueue"]
    _send(stack, url, [_delivery(event)])
    assert len(stack.emails(event.order_id)) == 1

    _send(stack, url, [_delivery(event)] * 3)
    _send(stack, url, [_delivery(marker)])
    stack.emails(marker.order_id)

    assert len(stack.emails(event.order_id)) == 1
