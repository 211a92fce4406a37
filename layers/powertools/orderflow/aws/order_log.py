"""The order log: one DynamoDB item per event, the source of truth and the outbox in one.

Appending is a conditional write of the next version, so of two writers one wins and the other
reloads. The table's stream carries what was written to the publisher: nobody writes and then
publishes. The first item of an order in work also carries the keys of the sparse index `open-orders`,
by which the sweeper finds orders that stand still, and others those that wait for a person. That mark is
never too late: it is put on together with the event that gives the saga work. It may be taken off, or
moved, a little after the event that ends the work. Every event of a sampled order is on the sparse index
`unpublished` until the publisher has seen it on the bus.

An item is inserted once. Later updates change its markers only, and each sets one of `UPDATE_MARKERS`, which no
insert may set: a changed item on the table's stream that has neither was overwritten.
"""

from __future__ import annotations

import random
import time
import zlib
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orderflow.aws.observability import logger
from orderflow.domain import events, reported_time
from orderflow.domain.order import Marker, Order, after_events, evolve, is_active, marker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botocore.exceptions import ClientError
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, TransactWriteItemTypeDef

    from orderflow.domain.commands import Command

OPEN_SHARDS = 8
# Of one order in so many it is written down which of its events are not on the bus yet.
SAMPLE = 64
WAITING = "waiting"
ATTEMPTS = 5
# An order of so many events is kept in the process, so that the next load reads only the events since; at most so many orders are.
LONG = 100
MOST_KEPT = 32
# A customer's concurrent requests meet at one row; all attempts together wait 2.3 seconds at most.
PLACE_ATTEMPTS = 10
# What an insert may write, and what an update may name. The roles' policies carry the same two lists.
ITEM_ATTRIBUTES = (
    "order_id",
    "version",
    "type",
    "event",
    "fingerprint",
    "open_shard",
    "open_since",
    "outbox",
    "outbox_since",
)
UPDATE_MARKERS = ("open_version", "published")
MARKER_ATTRIBUTES = ("order_id", "version", "open_shard", "open_since", "outbox", "outbox_since", *UPDATE_MARKERS)


class OrderNotFound(LookupError):
    """There is no order of this id."""


class Conflict(RuntimeError):
    """Somebody else appended first; load the order and decide again.

    `item` is the item that is there, where the write asked for it.
    """

    def __init__(self, order_id: str = "", item: dict[str, Any] | None = None) -> None:
        """Keep the item."""
        super().__init__(order_id)
        self.item = item


class TransactionConflict(RuntimeError):
    """Other transactions kept holding the same items; trying later helps.

    `reasons` has one entry per item of `extra_writes`, from the last attempt; none where that is not known.
    """

    def __init__(self, reasons: Sequence[dict[str, Any]] = ()) -> None:
        """Keep the reasons, one per item."""
        super().__init__([reason.get("Code") for reason in reasons])
        self.reasons = reasons


class RequestMismatch(ValueError):
    """The order id is taken by a request with other contents."""


class TransactionConditionFailed(RuntimeError):
    """The event could be appended, but a condition of an item written with it did not hold.

    `reasons` has one entry per item of `extra_writes`: the DynamoDB cancellation reason with `Code` and,
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
        self._long = OrderedDict[str, Order]()

    def place(
        self,
        order_id: str,
        placed: events.OrderPlaced,
        *,
        correlation_id: str,
        fingerprint: str,
        extra_writes: Sequence[TransactWriteItemTypeDef] = (),
    ) -> events.Event:
        """Append an order's first event in one call and return it.

        `extra_writes` are writes that take effect together with the event or not at all. When the order exists
        already and came from the same request, nothing is written and its first event is returned as it was
        written then, so a repeated request has the same answer.

        Raises:
            RequestMismatch: the order exists with another `fingerprint`.
            TransactionConditionFailed: a condition of `extra_writes` did not hold.
            TransactionConflict: transactions on the same items kept getting in the way.
        """
        event = _event(Order(order_id=order_id, correlation_id=correlation_id), placed, "orders", None)
        put = self._put_of(self._item(event) | {"fingerprint": {"S": fingerprint}, **_mark_of(event)})
        put["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            transact(self._client, [{"Put": put}], extra_writes, own=1, attempts=PLACE_ATTEMPTS)
        except Conflict as conflict:
            return _same_request(conflict.item or {}, order_id, fingerprint)
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

    def history(self, order_id: str, min_version: int | None = None, *, after: int = 0) -> list[events.Event]:
        """Return all events of the order, or those after a version, oldest first.

        With `min_version`, maybe without the latest, but at least so many of the order.

        `min_version` is for whoever was woken by an event and has its version. It is read at half the price then, from a copy
        of the log that may lag behind, and once more from the log itself only where that event is not in the copy yet. What it
        may lack came after the event, and wakes somebody on its own: a consumer that looks at all of the order's events
        and finds nothing due is as right as if it had looked a moment earlier. What is written because of it is conditional on
        the version that was read, or on the row that it changes. A row of one's own may know of more events than what was read
        here: it must tell so, or read without. So must the steps of the saga, after which nothing else may look again.

        Raises:
            OrderNotFound: there are none.
        """
        found = self._since(order_id, after, min_version)
        if not found:
            raise OrderNotFound(order_id)
        return found

    def load(self, order_id: str, min_version: int | None = None) -> Order:
        """Return the order as its events make it; with `min_version`, maybe not the latest of them, as `history` explains.

        Raises:
            OrderNotFound: there are none.
        """
        return self.refresh(self._long.get(order_id) or Order(order_id=order_id), min_version)

    def refresh(self, order: Order, min_version: int | None = None) -> Order:
        """Return `order` with the events appended since it was loaded: only those are read. `min_version` as in `history`.

        Raises:
            OrderNotFound: there are no events.
        """
        after = after_events(order, self._since(order.order_id, order.version, min_version))
        if not after.version:
            raise OrderNotFound(order.order_id)
        return self._kept(after)

    def _kept(self, order: Order) -> Order:
        """Keep a long order, whose events never change, for the next load, in place of the one that was longest not loaded."""
        if order.version >= LONG:
            self._long[order.order_id] = order
            self._long.move_to_end(order.order_id)
            if len(self._long) > MOST_KEPT:
                self._long.popitem(last=False)
        return order

    def orders(self, at_once: int, after: tuple[str, int] | None) -> tuple[list[str], tuple[str, int] | None]:
        """Read the next `at_once` events of the whole log and return the orders that begin there, and after which event to go on.

        For making something again from the beginning; nothing in the life of an order reads all of the log.
        """
        start: dict[str, Any] = {"ExclusiveStartKey": _key(*after)} if after else {}
        page = self._client.scan(
            TableName=self._table,
            Limit=at_once,
            ConsistentRead=True,
            FilterExpression="#type = :placed",
            ProjectionExpression="order_id",
            ExpressionAttributeNames={"#type": "type"},
            ExpressionAttributeValues={":placed": {"S": "OrderPlaced"}},
            **start,
        )
        items: list[Any] = page["Items"]
        last: Any = page.get("LastEvaluatedKey")
        return [item["order_id"]["S"] for item in items], (last["order_id"]["S"], int(last["version"]["N"])) if last else None

    def record(self, order: Order, command: Command, *, source: str, occurred_at: datetime | None = None) -> Order:
        """Carry out `command` on the order, reloading it as often as somebody else was first; `occurred_at` as in `append`.

        Returns the order afterwards: unchanged where the command had its effect already or is not
        allowed any more, which the caller sees in the order's state.

        Raises:
            Conflict: others were first in every attempt.
        """
        # The commands take a while to import, and the order API, which has a cold start to keep short, does without them.
        from orderflow.domain.commands import Refusal, decide  # noqa: PLC0415

        for _ in range(ATTEMPTS):
            facts = decide(order, command)
            if isinstance(facts, Refusal) or not facts:
                return order
            try:
                return self.append(order, facts, source=source, occurred_at=occurred_at)
            except Conflict:
                order = self.refresh(order)
        raise Conflict(order.order_id)

    def append(
        self,
        order: Order,
        facts: Sequence[events.EventData],
        *,
        source: str,
        occurred_at: datetime | None = None,
        extra_writes: Sequence[TransactWriteItemTypeDef] = (),
        attempts: int = ATTEMPTS,
    ) -> Order:
        """Append `facts` as the next events of `order` and return the order after them.

        `occurred_at` is when their sender says that they occurred, with any offset: `reported_time` limits it.
        `extra_writes` are writes to the context's own tables that take effect together with the events
        or not at all. So does the mark of an order that the saga has work with again; that of one with which
        it has none any more comes off afterwards, or stays until the sweeper sees it.

        Raises:
            Conflict: the log has gone on since `order` was loaded.
            TransactionConditionFailed: a condition of `extra_writes` did not hold.
            TransactionConflict: other transactions kept getting in the way.
        """
        [after] = self.append_together(
            [(order, facts)], source=source, extra_writes=extra_writes, attempts=attempts, occurred_at=occurred_at
        )
        return after

    def append_together(
        self,
        appends: Sequence[tuple[Order, Sequence[events.EventData]]],
        *,
        source: str,
        extra_writes: Sequence[TransactWriteItemTypeDef] = (),
        attempts: int = ATTEMPTS,
        occurred_at: datetime | None = None,
    ) -> list[Order]:
        """Append facts to several orders, to all of them or to none, as `append` does to one; return the orders after them.

        A transaction takes 100 writes: an event each, `extra_writes`, and the marks of orders that the saga has work with again.

        Raises:
            Conflict: one of the logs has gone on since its order was loaded.
            TransactionConditionFailed, TransactionConflict: as `append`.
        """
        changes = [_change(order, facts, source, occurred_at) for order, facts in appends]
        puts = [self._put_of(self._item(event)) for _, new, _ in changes for event in new]
        opening = [self._opening(new[-1]) for order, new, after in changes if not is_active(order) and is_active(after)]
        if len(puts) == 1 and not opening and not extra_writes:
            self._append_one(puts[0])
        else:
            transact(self._client, [*({"Put": put} for put in puts), *opening], extra_writes, own=len(puts), attempts=attempts)
        for order, new, after in changes:
            if is_active(order) and not is_active(after):
                self._try_to_unmark(after, new[-1].appended_at)
        return [self._kept(after) for _, _, after in changes]

    def clear_marker(self, order: Order, since: datetime | None = None) -> None:
        """Take the mark off an order that the saga has no work with; one that waits for a person keeps another, `since` (UTC) if given.

        A mark that came with a later event than the last of `order` stays as it is, so this can be done late and again.
        """
        waits = marker(order)
        update = "SET open_version = :version REMOVE open_shard, open_since"
        values: dict[str, Any] = {":version": {"N": str(order.version)}}
        if waits:
            update = "SET open_shard = :shard, open_version = :version" + (", open_since = :since" if since else "")
            values |= {":shard": {"S": active_shard(order.order_id, waits)}, **({":since": {"S": timestamp(since)}} if since else {})}
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(order.order_id, 1),
                UpdateExpression=update,
                # The mark that an order is placed with has no version.
                ConditionExpression="attribute_exists(open_shard) AND (attribute_not_exists(open_version) OR open_version < :version)",
                ExpressionAttributeValues=values,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def _try_to_unmark(self, order: Order, since: datetime) -> None:
        try:
            self.clear_marker(order, since)
        except Exception:  # noqa: BLE001 - the event is written, which is what counts; the sweeper mends the mark
            logger.warning("mark not taken off", order_id=order.order_id, exc_info=True)

    def _append_one(self, put: PutTypeDef) -> None:
        try:
            self._put(**put)
        except self._client.exceptions.ConditionalCheckFailedException:
            raise Conflict from None

    def _put(self, **request: Any) -> None:
        """Put an item, again while a transaction, such as one that puts the order's mark on, holds it."""
        for attempt in range(ATTEMPTS):
            try:
                self._client.put_item(**request)
            except self._client.exceptions.TransactionConflictException:
                backoff(attempt + 1)
            else:
                return
        raise TransactionConflict

    def _opening(self, event: events.Event) -> TransactWriteItemTypeDef:
        """Return the write that puts the order on the index, since this event, whatever mark it has."""
        marked = _mark_of(event)
        return {
            "Update": {
                "TableName": self._table,
                "Key": _key(event.order_id, 1),
                "UpdateExpression": "SET open_shard = :shard, open_since = :since, open_version = :version",
                "ExpressionAttributeValues": {
                    ":shard": marked["open_shard"],
                    ":since": marked["open_since"],
                    ":version": {"N": str(event.order_version)},
                },
            }
        }

    def _since(self, order_id: str, version: int, min_version: int | None) -> list[events.Event]:
        """Return the order's events after a version, as `history` returns all of them; none where there are none."""
        if min_version is not None:
            found = self._events(order_id, version, consistent=False)
            last = found[-1].order_version if found else version
            # Events that were written together may come into view one by one.
            if last >= min_version and last == version + len(found):
                return found
        return self._events(order_id, version, consistent=True)

    def _events(self, order_id: str, after: int, *, consistent: bool) -> list[events.Event]:
        found: list[events.Event] = []
        start: dict[str, Any] = {}
        while True:
            page = self._client.query(
                TableName=self._table,
                KeyConditionExpression="order_id = :order_id AND #version > :after",
                ExpressionAttributeNames={"#event": "event", "#version": "version"},
                ExpressionAttributeValues={":order_id": {"S": order_id}, ":after": {"N": str(after)}},
                ProjectionExpression="#event",
                ConsistentRead=consistent,
                **start,
            )
            found += (events.decode(item["event"]["S"]) for item in page["Items"])  # pyright: ignore[reportTypedDictNotRequiredAccess]
            if "LastEvaluatedKey" not in page:
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

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
    client: DynamoDBClient,
    items: Sequence[TransactWriteItemTypeDef],
    extra_writes: Sequence[TransactWriteItemTypeDef],
    *,
    own: int,
    attempts: int = ATTEMPTS,
) -> None:
    """Write `items` and `extra_writes` in one transaction, tried so many times while other transactions hold some of them.

    Raises:
        Conflict: a condition of the first `own` of `items` did not hold.
        TransactionConditionFailed: a condition of `extra_writes` did not hold.
        TransactionConflict: other transactions kept getting in the way.
    """
    reasons: list[dict[str, Any]] = []
    for attempt in range(attempts):
        if attempt:
            backoff(attempt)
        try:
            client.transact_write_items(TransactItems=[*items, *extra_writes])
        except client.exceptions.TransactionCanceledException as cancelled:
            reasons = _reasons(cancelled)
            refused = next((reason for reason in reasons[:own] if reason.get("Code") == "ConditionalCheckFailed"), None)
            if refused:
                raise Conflict(item=refused.get("Item")) from None
            if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons[len(items) :]):
                raise TransactionConditionFailed(reasons[len(items) :]) from None
            if not any(reason.get("Code") == "TransactionConflict" for reason in reasons):
                raise
        else:
            return
    raise TransactionConflict(reasons[len(items) :])


def _same_request(item: dict[str, Any], order_id: str, fingerprint: str) -> events.Event:
    if item["fingerprint"]["S"] != fingerprint:
        raise RequestMismatch(order_id)
    return events.decode(item["event"]["S"])


def active_shards(marked: Marker) -> list[str]:
    """Return the partitions of the index `open-orders` that hold the orders with a mark."""
    return [_shard(number, marked) for number in range(OPEN_SHARDS)]


def active_shard(order_id: str, marked: Marker = "open") -> str:
    """Return the partition of the index `open-orders` that an order with this mark is in."""
    return _shard(zlib.crc32(order_id.encode()) % OPEN_SHARDS, marked)


def _shard(number: int, marked: Marker) -> str:
    return str(number) if marked == "open" else f"{marked}-{number}"


def _mark_of(event: events.Event) -> dict[str, Any]:
    return {
        "open_shard": {"S": active_shard(event.order_id)},
        "open_since": {"S": timestamp(event.appended_at)},
    }


def _waiting(event: events.Event) -> dict[str, Any]:
    """Return the keys of the index `unpublished` for an event of a sampled order."""
    if zlib.crc32(event.order_id.encode()) % SAMPLE:
        return {}
    return {"outbox": {"S": WAITING}, "outbox_since": {"S": timestamp(event.appended_at)}}


def timestamp(moment: datetime) -> str:
    """Return a UTC moment as RFC 3339 with microseconds, so that strings sort by time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _key(order_id: str, version: int) -> dict[str, Any]:
    return {"order_id": {"S": order_id}, "version": {"N": str(version)}}


def _change(order: Order, facts: Sequence[events.EventData], source: str, said: datetime | None) -> tuple[Order, list[events.Event], Order]:
    """Return an order, the events that facts are, and the order after them."""
    new: list[events.Event] = []
    after = order
    for fact in facts:
        event = _event(after, fact, source, after.last_event_id, said)
        new.append(event)
        after = evolve(after, event)
    return order, new, after


def _event(order: Order, fact: events.EventData, source: str, cause: str | None, said: datetime | None = None) -> events.Event:
    version = order.version + 1
    now = datetime.now(UTC)
    occurred_at = reported_time.occurred_at(order, fact, said, now) if said else now
    if said and abs(said - occurred_at) > reported_time.CLOCK_SKEW:
        logger.warning("reported_time_not_taken", order_id=order.order_id, type=type(fact).__name__, reported=said.isoformat())
    return events.Event(
        event_id=f"{order.order_id}:{version}",
        type=type(fact).__name__,
        schema_version=fact.schema_version,
        occurred_at=occurred_at,
        source=source,
        correlation_id=order.correlation_id,
        causation_id=cause,
        order_id=order.order_id,
        order_version=version,
        data=fact,
        recorded_at=now if occurred_at != now else None,
    )


def backoff(attempts: int) -> None:
    """Wait after so many attempts that met other transactions: longer after more, and never equally long."""
    time.sleep(random.uniform(0.01, 0.05) * attempts)  # noqa: S311 - jitter, not a secret


def _reasons(cancelled: ClientError) -> list[dict[str, Any]]:
    return cancelled.response.get("CancellationReasons", [])  # pyright: ignore[reportReturnType]
