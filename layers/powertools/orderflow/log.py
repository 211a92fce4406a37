"""The order log: one DynamoDB item per event, the source of truth and the outbox in one.

Appending is a conditional write of the next version, so of two writers one wins and the other
reloads. The table's stream carries what was written to the publisher: nobody writes and then
publishes. The first item of an order in work also carries the keys of the sparse index `open-orders`,
by which the sweeper finds orders that stand still, and others those that wait for a person. Every event
of a sampled order is on the sparse index `unpublished` until the publisher has seen it on the bus.
"""

from __future__ import annotations

import random
import time
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from orderflow import events
from orderflow.commands import Command, Refusal, decide
from orderflow.order import Mark, Order, evolve, fold, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botocore.exceptions import ClientError
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, TransactWriteItemTypeDef

OPEN_SHARDS = 8
# Of one order in so many it is written down which of its events are not on the bus yet.
SAMPLE = 64
WAITING = "waiting"
_ATTEMPTS = 5


class OrderNotFound(LookupError):
    """There is no order of this id."""


class Conflict(RuntimeError):
    """Somebody else appended first; load the order and decide again."""


class Contention(RuntimeError):
    """Other transactions kept holding the same items; trying later helps."""


class RequestMismatch(ValueError):
    """The order id is taken by a request with other contents."""


class AlongsideFailed(RuntimeError):
    """The event could be appended, but a condition of an item written with it did not hold.

    `reasons` has one entry per item of `alongside`: the DynamoDB cancellation reason with `Code` and,
    where the write asked for it, the `Item` that is there.
    """

    def __init__(self, reasons: Sequence[dict[str, Any]]) -> None:
        """Keep the reasons, one per item."""
        super().__init__([reason.get("Code") for reason in reasons])
        self.reasons = reasons


class OrderLog:
    """Reads and appends the events of orders."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def place(
        self, order_id: str, placed: events.OrderPlaced, *, correlation_id: str, fingerprint: str, payment_token: str
    ) -> events.Event:
        """Append an order's first event in one call and return it.

        When the order exists already and came from the same request, its first event is returned as
        it was written then, so a repeated request has the same answer.

        Raises:
            RequestMismatch: the order exists with another `fingerprint`.
            Contention: transactions on the order kept getting in the way.
        """
        event = _event(Order(order_id=order_id, correlation_id=correlation_id), placed, "orders", None)
        item = self._item(event) | {
            "fingerprint": {"S": fingerprint},
            "payment_token": {"S": payment_token},
            **_mark_of(event, "open"),
        }
        try:
            self._put(**{**self._put_of(item), "ReturnValuesOnConditionCheckFailure": "ALL_OLD"})
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            there = cast("dict[str, Any]", refused.response).get("Item", {})
            return _same_request(there, order_id, fingerprint)
        return event

    def placed(self, order_id: str, fingerprint: str) -> events.Event:
        """Return the first event of an order that a request of this `fingerprint` placed before.

        Raises:
            OrderNotFound: there is no such order.
            RequestMismatch: it came from a request with another `fingerprint`.
        """
        answer = self._client.get_item(TableName=self._table, Key=_key(order_id, 1), ConsistentRead=True)
        if "Item" not in answer:
            raise OrderNotFound(order_id)
        return _same_request(answer["Item"], order_id, fingerprint)

    def history(self, order_id: str) -> list[events.Event]:
        """Return all events of the order, oldest first.

        Raises:
            OrderNotFound: there are none.
        """
        return [events.decode(item["event"]["S"]) for item in self._items(order_id, "event")]

    def load(self, order_id: str) -> Order:
        """Return the order as its events make it.

        Raises:
            OrderNotFound: there are none.
        """
        return fold(order_id, self.history(order_id))

    def orders(self, at_once: int, after: tuple[str, int] | None) -> tuple[list[str], tuple[str, int] | None]:
        """Read the next `at_once` events of the whole log and return the orders that begin there, and after which event to go on.

        For making something again from the beginning; nothing in the life of an order reads all of the log.
        """
        start: dict[str, Any] = {"ExclusiveStartKey": _key(*after)} if after else {}
        page = self._client.scan(
            TableName=self._table,
            Limit=at_once,
            ConsistentRead=True,
            FilterExpression="#version = :first",
            ProjectionExpression="order_id",
            ExpressionAttributeNames={"#version": "version"},
            ExpressionAttributeValues={":first": {"N": "1"}},
            **start,
        )
        items: list[Any] = page["Items"]
        last: Any = page.get("LastEvaluatedKey")
        return [item["order_id"]["S"] for item in items], (last["order_id"]["S"], int(last["version"]["N"])) if last else None

    def payment_token(self, order_id: str) -> str:
        """Return the payment token that came with the order; it is kept beside the events, never in one.

        Raises:
            OrderNotFound: there is no such order.
        """
        answer = self._client.get_item(
            TableName=self._table, Key=_key(order_id, 1), ProjectionExpression="payment_token", ConsistentRead=True
        )
        if "Item" not in answer:
            raise OrderNotFound(order_id)
        return answer["Item"]["payment_token"]["S"]  # pyright: ignore[reportTypedDictNotRequiredAccess]

    def record(self, order: Order, command: Command, *, source: str) -> Order:
        """Carry out `command` on the order, reloading it as often as somebody else was first.

        Returns the order afterwards: unchanged where the command had its effect already or is not
        allowed any more, which the caller sees in the order's state.

        Raises:
            Conflict: others were first in every attempt.
        """
        for _ in range(_ATTEMPTS):
            facts = decide(order, command)
            if isinstance(facts, Refusal) or not facts:
                return order
            try:
                return self.append(order, facts, source=source)
            except Conflict:
                order = self.load(order.order_id)
        raise Conflict(order.order_id)

    def append(
        self,
        order: Order,
        facts: Sequence[events.Fact],
        *,
        source: str,
        alongside: Sequence[TransactWriteItemTypeDef] = (),
    ) -> Order:
        """Append `facts` as the next events of `order` and return the order after them.

        `alongside` are writes to the context's own tables that take effect together with the events
        or not at all.

        Raises:
            Conflict: the log has gone on since `order` was loaded.
            AlongsideFailed: a condition of `alongside` did not hold.
            Contention: other transactions kept getting in the way.
        """
        new: list[events.Event] = []
        after = order
        for fact in facts:
            event = _event(after, fact, source, after.last_event_id)
            new.append(event)
            after = evolve(after, event)
        mark = self._mark(order, after, new[-1])
        puts = [self._put_of(self._item(event)) for event in new]
        if len(puts) == 1 and not mark and not alongside:
            self._append_one(puts[0])
        else:
            transact(self._client, [*({"Put": put} for put in puts), *mark], alongside, own=len(puts))
        return after

    def _append_one(self, put: PutTypeDef) -> None:
        try:
            self._put(**put)
        except self._client.exceptions.ConditionalCheckFailedException:
            raise Conflict from None

    def _put(self, **request: Any) -> None:
        """Put an item, again while a transaction, such as one that takes the order's mark off, holds it."""
        for attempt in range(_ATTEMPTS):
            try:
                self._client.put_item(**request)
            except self._client.exceptions.TransactionConflictException:
                _wait(attempt)
            else:
                return
        raise Contention

    def _mark(self, before: Order, after: Order, last: events.Event) -> list[TransactWriteItemTypeDef]:
        """Return the write that puts the order on the index of orders in work, moves it there, or takes it off."""
        if mark(before) == mark(after):
            return []
        update: Any = {"TableName": self._table, "Key": _key(after.order_id, 1)}
        if marked := mark(after):
            values = _mark_of(last, marked)
            update["UpdateExpression"] = "SET open_shard = :shard, open_since = :since"
            update["ExpressionAttributeValues"] = {":shard": values["open_shard"], ":since": values["open_since"]}
        else:
            update["UpdateExpression"] = "REMOVE open_shard, open_since"
        return [{"Update": update}]

    def _items(self, order_id: str, attribute: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        start: dict[str, Any] = {}
        while True:
            page = self._client.query(
                TableName=self._table,
                KeyConditionExpression="order_id = :order_id",
                ExpressionAttributeNames={"#attribute": attribute},
                ExpressionAttributeValues={":order_id": {"S": order_id}},
                ProjectionExpression="#attribute",
                ConsistentRead=True,
                **start,
            )
            items += page["Items"]
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        if not items:
            raise OrderNotFound(order_id)
        return items

    def _item(self, event: events.Event) -> dict[str, Any]:
        return {
            **_key(event.order_id, event.order_version),
            "type": {"S": event.type},
            "event": {"S": events.encode(event).decode()},
            **_waiting(event),
        }

    def _put_of(self, item: dict[str, Any]) -> PutTypeDef:
        return {"TableName": self._table, "Item": item, "ConditionExpression": "attribute_not_exists(order_id)"}


def transact(
    client: DynamoDBClient, items: Sequence[TransactWriteItemTypeDef], alongside: Sequence[TransactWriteItemTypeDef], *, own: int
) -> None:
    """Write `items` and `alongside` in one transaction, again while other transactions hold some of them.

    Raises:
        Conflict: a condition of the first `own` of `items` did not hold.
        AlongsideFailed: a condition of `alongside` did not hold.
        Contention: other transactions kept getting in the way.
    """
    for attempt in range(_ATTEMPTS):
        try:
            client.transact_write_items(TransactItems=[*items, *alongside])
        except client.exceptions.TransactionCanceledException as cancelled:
            reasons = _reasons(cancelled)
            if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons[:own]):
                raise Conflict from None
            if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons[len(items) :]):
                raise AlongsideFailed(reasons[len(items) :]) from None
            if not any(reason.get("Code") == "TransactionConflict" for reason in reasons):
                raise
            _wait(attempt)
        else:
            return
    raise Contention


def _same_request(item: dict[str, Any], order_id: str, fingerprint: str) -> events.Event:
    if item["fingerprint"]["S"] != fingerprint:
        raise RequestMismatch(order_id)
    return events.decode(item["event"]["S"])


def open_shards(marked: Mark) -> list[str]:
    """Return the partitions of the index `open-orders` that hold the orders with a mark."""
    return [_shard(number, marked) for number in range(OPEN_SHARDS)]


def open_shard(order_id: str, marked: Mark = "open") -> str:
    """Return the partition of the index `open-orders` that an order with this mark is in."""
    return _shard(zlib.crc32(order_id.encode()) % OPEN_SHARDS, marked)


def _shard(number: int, marked: Mark) -> str:
    return str(number) if marked == "open" else f"{marked}-{number}"


def _mark_of(event: events.Event, marked: Mark) -> dict[str, Any]:
    return {
        "open_shard": {"S": open_shard(event.order_id, marked)},
        "open_since": {"S": timestamp(event.occurred_at)},
    }


def _waiting(event: events.Event) -> dict[str, Any]:
    """Return the keys of the index `unpublished` for an event of a sampled order."""
    if zlib.crc32(event.order_id.encode()) % SAMPLE:
        return {}
    return {"outbox": {"S": WAITING}, "outbox_since": {"S": timestamp(event.occurred_at)}}


def timestamp(moment: datetime) -> str:
    """Return a UTC moment as RFC 3339 with microseconds, so that strings sort by time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _key(order_id: str, version: int) -> dict[str, Any]:
    return {"order_id": {"S": order_id}, "version": {"N": str(version)}}


def _event(order: Order, fact: events.Fact, source: str, cause: str | None) -> events.Event:
    version = order.version + 1
    return events.Event(
        event_id=f"{order.order_id}:{version}",
        type=type(fact).__name__,
        schema_version=fact.schema_version,
        occurred_at=datetime.now(UTC),
        source=source,
        correlation_id=order.correlation_id,
        causation_id=cause,
        order_id=order.order_id,
        order_version=version,
        data=fact,
    )


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0.01, 0.05) * (attempt + 1))  # noqa: S311 - jitter, not a secret


def _reasons(cancelled: ClientError) -> list[dict[str, Any]]:
    return cancelled.response.get("CancellationReasons", [])  # pyright: ignore[reportReturnType]
