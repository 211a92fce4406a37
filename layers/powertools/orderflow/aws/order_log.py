"""The order log: one DynamoDB item per event. It is the source of truth and the outbox.

An append is a conditional write of the next version: of two concurrent writers one succeeds, and the other reloads the order. The
table's stream carries the event to the publisher, so no code writes and then publishes.

Three kinds of attributes stand beside an event:

- The first item of an active order has the keys of the sparse index `open-orders` (the active-order marker). The recovery function
  finds stuck orders and held orders by it. The marker is written together with the event that gives the saga work. It is removed or
  changed shortly after the event that ends the work.
- Every event of a sampled order has the keys of the sparse index `unpublished` until the publisher has put it on the bus.
- An item is inserted once. Later updates change only markers, and each of them sets one of `UPDATE_MARKERS`, which no insert may
  set. A modified item on the table's stream without them was overwritten.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from orderflow.aws import dynamodb
from orderflow.aws.dynamodb import ATTEMPTS, Conflict, TransactionConflict, backoff, encode_item, key, timestamp, transact, values
from orderflow.aws.observability import logger, measure, measure_all
from orderflow.domain import events, metrics, reported_time
from orderflow.domain.order import Marker, Order, after_events, evolve, is_active, marker
from orderflow.domain.order_metrics import measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, TransactWriteItemTypeDef

    from orderflow.domain.commands import Command, Refusal

OPEN_SHARDS = 8
# One order in so many is on the index `unpublished`.
SAMPLE = 64
WAITING = "waiting"
# An order of so many events is cached in the process, so that the next load reads only later events; at most so many orders are.
LONG = 100
MOST_KEPT = 32
# A customer's concurrent requests write the same row; all attempts together wait 2.3 seconds at most.
PLACE_ATTEMPTS = 10
# Attributes that an insert may write, and attributes that an update may name. The functions' policies repeat both lists.
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
    """No order has this id."""


class RequestMismatch(ValueError):
    """The order id belongs to a request with other contents."""


class Recorded(NamedTuple):
    """The command is allowed: the order after it, and the events that this call appended; none if the command had its effect before."""

    order: Order
    events: tuple[events.Event, ...] = ()


class Refused(NamedTuple):
    """The command is not allowed: the order as the decision saw it, and the reason. Nothing was appended."""

    order: Order
    refusal: Refusal


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

        `extra_writes` take effect together with the event or not at all. If the same request placed the order before, nothing is
        written and the stored first event is returned, so a repeated request has the same answer.

        Raises:
            RequestMismatch: the order exists with another `fingerprint`.
            TransactionConditionFailed: a condition of `extra_writes` did not hold.
            TransactionConflict: other transactions held the same items in every attempt.
        """
        event = _event(Order(order_id=order_id, correlation_id=correlation_id), placed, "orders", None)
        put = self._put_of({**self._item(event), **_active_marker(event), "fingerprint": fingerprint})
        put["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            transact(self._client, [{"Put": put}], extra_writes, attempts=PLACE_ATTEMPTS)
        except Conflict as conflict:
            return _same_request(conflict.item or {}, order_id, fingerprint)
        measure(metrics.ORDERS_PLACED, 1)
        return event

    def placed(self, order_id: str, fingerprint: str) -> events.Event:
        """Return the first event of an order that a request of this `fingerprint` placed before.

        Raises:
            OrderNotFound: there is no such order.
            RequestMismatch: a request with another `fingerprint` placed it.
        """
        item = dynamodb.read_item(self._client, self._table, _key(order_id, 1))
        if item is None:
            raise OrderNotFound(order_id)
        return _same_request(item, order_id, fingerprint)

    def history(self, order_id: str, min_version: int | None = None, *, after: int = 0) -> list[events.Event]:
        """Return the order's events after version `after`, oldest first.

        `min_version` allows an eventually consistent read (half the cost): the answer may lack the latest events, but has at least
        the first `min_version` of them. If the replica lacks these, the log is read again consistently.

        Pass `min_version` only if an event triggered the caller and the caller has its version. Events that the answer lacks came
        later and trigger consumers of their own, and every write that follows must be conditional on the version that was read or on
        the row that it changes. Read without `min_version` if the caller's own row may know later events, and in saga steps, after
        which no other consumer may look at the order again.

        Raises:
            OrderNotFound: there are none.
        """
        found = self._since(order_id, after, min_version)
        if not found:
            raise OrderNotFound(order_id)
        return found

    def load(self, order_id: str, min_version: int | None = None) -> Order:
        """Return the order; `min_version` as in `history`.

        Raises:
            OrderNotFound: there are no events.
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
        """Cache an order with many events for the next load; the least recently loaded order leaves the cache."""
        if order.version >= LONG:
            self._long[order.order_id] = order
            self._long.move_to_end(order.order_id)
            if len(self._long) > MOST_KEPT:
                self._long.popitem(last=False)
        return order

    def orders(self, at_once: int, after: tuple[str, int] | None) -> tuple[list[str], tuple[str, int] | None]:
        """Read the next `at_once` events of the whole log; return the ids of orders placed among them, and the key after which to continue.

        Only rebuilds need this: it scans the table.
        """
        start: dict[str, Any] = {"ExclusiveStartKey": _key(*after)} if after else {}
        page = self._client.scan(
            TableName=self._table,
            Limit=at_once,
            ConsistentRead=True,
            FilterExpression="#type = :placed",
            ProjectionExpression="order_id",
            ExpressionAttributeNames={"#type": "type"},
            ExpressionAttributeValues=values(placed="OrderPlaced"),
            **start,
        )
        last = dynamodb.decode_item(page.get("LastEvaluatedKey", {}))
        order_ids = [dynamodb.decode_item(item)["order_id"] for item in page["Items"]]
        return order_ids, (last["order_id"], last["version"]) if last else None

    def record(
        self,
        order: Order,
        command: Command,
        *,
        source: str,
        occurred_at: datetime | None = None,
        extra_writes: Sequence[TransactWriteItemTypeDef] = (),
    ) -> Recorded | Refused:
        """Decide `command` and append its events; after a conflict, reload the order and decide again.

        `occurred_at` and `extra_writes` as in `append`. With `extra_writes` a single attempt is made, without events nothing is
        written: the caller derived these writes from `order`, and must derive them again after a conflict.

        Raises:
            Conflict: others appended first, in every attempt.
            TransactionConditionFailed, TransactionConflict: as `append`.
        """
        # Importing the commands takes a while; the order API, which never calls this, keeps its cold start short without them.
        from orderflow.domain.commands import Refusal, decide  # noqa: PLC0415

        attempts = 1 if extra_writes else ATTEMPTS
        for attempt in range(attempts):
            if attempt:
                order = self.refresh(order)
            decision = decide(order, command)
            if isinstance(decision, Refusal):
                return Refused(order, decision)
            if not decision:
                return Recorded(order)
            try:
                [change] = self._append_all(
                    [(order, decision)], source=source, occurred_at=occurred_at, extra_writes=extra_writes, attempts=attempts
                )
            except Conflict:
                measure(metrics.APPEND_CONFLICTS, 1)
                continue
            return Recorded(change.after, tuple(change.new))
        raise Conflict(order.order_id)

    def append(
        self,
        order: Order,
        event_data: Sequence[events.EventData],
        *,
        source: str,
        occurred_at: datetime | None = None,
        extra_writes: Sequence[TransactWriteItemTypeDef] = (),
        attempts: int = ATTEMPTS,
    ) -> Order:
        """Append `event_data` as the next events of `order` and return the order after them.

        `occurred_at` is the time that the sender reports, with any offset; `reported_time` limits it.
        `extra_writes` are writes to the context's own tables that take effect together with the events or not at all. The same holds
        for the marker of an order that becomes active. The marker of an order that stops being active is removed afterwards; if that
        fails, the recovery function removes it.

        Raises:
            Conflict: the log has later events than `order`.
            TransactionConditionFailed: a condition of `extra_writes` did not hold.
            TransactionConflict: other transactions held the same items in every attempt.
        """
        [after] = self.append_together(
            [(order, event_data)], source=source, extra_writes=extra_writes, attempts=attempts, occurred_at=occurred_at
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
        """Append events to several orders, to all of them or to none, as `append` does to one; return the orders after them.

        A transaction takes 100 writes: one for each event, the `extra_writes`, and one for each order that becomes active.

        Raises:
            Conflict: one of the logs has later events than its order.
            TransactionConditionFailed, TransactionConflict: as `append`.
        """
        changes = self._append_all(appends, source=source, extra_writes=extra_writes, attempts=attempts, occurred_at=occurred_at)
        return [change.after for change in changes]

    def _append_all(
        self,
        appends: Sequence[tuple[Order, Sequence[events.EventData]]],
        *,
        source: str,
        extra_writes: Sequence[TransactWriteItemTypeDef],
        attempts: int,
        occurred_at: datetime | None,
    ) -> list[_Change]:
        changes = [_change(order, event_data, source, occurred_at) for order, event_data in appends]
        puts = [self._put_of(self._item(event)) for change in changes for event in change.new]
        markers = [self._set_active_marker(change.new[-1]) for change in changes if change.activates]
        if len(puts) == 1 and not markers and not extra_writes:
            self._append_one(puts[0])
        else:
            transact(self._client, [*({"Put": put} for put in puts), *markers], extra_writes, own=len(puts), attempts=attempts)
        for change in changes:
            self._kept(change.after)
            measure_all(found for event in change.new for found in measured(change.after, event))
            if change.deactivates:
                self._try_clear_marker(change.after, change.new[-1].appended_at)
        return changes

    def clear_marker(self, order: Order, since: datetime | None = None) -> None:
        """Remove the active-order marker; an order that waits for a person gets the marker `held`, with `since` (UTC) if given.

        A marker that came with a later event than the last of `order` stays, so this call is safe late and repeated.
        """
        waits = marker(order)
        update = "SET open_version = :version REMOVE open_shard, open_since"
        named: dict[str, Any] = {"version": order.version}
        if waits:
            update = "SET open_shard = :shard, open_version = :version" + (", open_since = :since" if since else "")
            named |= {"shard": active_shard(order.order_id, waits), **({"since": since} if since else {})}
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(order.order_id, 1),
                UpdateExpression=update,
                # The marker that an order is placed with has no version.
                ConditionExpression="attribute_exists(open_shard) AND (attribute_not_exists(open_version) OR open_version < :version)",
                ExpressionAttributeValues=values(**named),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return

    def _try_clear_marker(self, order: Order, since: datetime) -> None:
        try:
            self.clear_marker(order, since)
        except Exception:  # noqa: BLE001 - the event is appended, which is what counts; the recovery function clears the marker
            logger.warning("marker_cleanup_failed", order_id=order.order_id, exc_info=True)

    def _append_one(self, put: PutTypeDef) -> None:
        try:
            self._put(**put)
        except self._client.exceptions.ConditionalCheckFailedException:
            raise Conflict from None

    def _put(self, **request: Any) -> None:
        """Put an item, retried while a transaction (such as one that sets the order's marker) holds it."""
        for attempt in range(ATTEMPTS):
            try:
                self._client.put_item(**request)
            except self._client.exceptions.TransactionConflictException:
                backoff(attempt + 1)
            else:
                return
        raise TransactionConflict

    def _set_active_marker(self, event: events.Event) -> TransactWriteItemTypeDef:
        """Return the write that makes the order active as of this event, replacing any marker."""
        marked = _active_marker(event)
        return {
            "Update": {
                "TableName": self._table,
                "Key": _key(event.order_id, 1),
                "UpdateExpression": "SET open_shard = :shard, open_since = :since, open_version = :version",
                "ExpressionAttributeValues": values(shard=marked["open_shard"], since=marked["open_since"], version=event.order_version),
            }
        }

    def _since(self, order_id: str, version: int, min_version: int | None) -> list[events.Event]:
        """Return the order's events after a version; `min_version` as in `history`."""
        if min_version is not None:
            found = self._events(order_id, version, consistent=False)
            last = found[-1].order_version if found else version
            # A replica may show the events of one transaction one by one.
            if last >= min_version and last == version + len(found):
                return found
        return self._events(order_id, version, consistent=True)

    def _events(self, order_id: str, after: int, *, consistent: bool) -> list[events.Event]:
        items = dynamodb.read_items(
            self._client.query,
            TableName=self._table,
            KeyConditionExpression="order_id = :order_id AND #version > :after",
            ExpressionAttributeNames={"#event": "event", "#version": "version"},
            ExpressionAttributeValues=values(order_id=order_id, after=after),
            ProjectionExpression="#event",
            ConsistentRead=consistent,
        )
        return [events.decode(item["event"]) for item in items]

    def _item(self, event: events.Event) -> dict[str, Any]:
        return {
            "order_id": event.order_id,
            "version": event.order_version,
            "type": event.type,
            "event": events.encode(event).decode(),
            **_outbox_keys(event),
        }

    def _put_of(self, item: dict[str, Any]) -> PutTypeDef:
        return {"TableName": self._table, "Item": encode_item(item), "ConditionExpression": "attribute_not_exists(order_id)"}


class _Change(NamedTuple):
    """An order before and after new events."""

    before: Order
    new: list[events.Event]
    after: Order

    @property
    def activates(self) -> bool:
        return not is_active(self.before) and is_active(self.after)

    @property
    def deactivates(self) -> bool:
        return is_active(self.before) and not is_active(self.after)


def _same_request(item: dict[str, Any], order_id: str, fingerprint: str) -> events.Event:
    if item["fingerprint"] != fingerprint:
        raise RequestMismatch(order_id)
    return events.decode(item["event"])


def active_shards(marked: Marker) -> list[str]:
    """Return the partitions of the index `open-orders` that hold the orders with this marker."""
    return [_shard(number, marked) for number in range(OPEN_SHARDS)]


def active_shard(order_id: str, marked: Marker = "open") -> str:
    """Return the partition of the index `open-orders` for an order with this marker."""
    return _shard(zlib.crc32(order_id.encode()) % OPEN_SHARDS, marked)


def _shard(number: int, marked: Marker) -> str:
    return str(number) if marked == "open" else f"{marked}-{number}"


def _active_marker(event: events.Event) -> dict[str, str]:
    return {"open_shard": active_shard(event.order_id), "open_since": timestamp(event.appended_at)}


def _outbox_keys(event: events.Event) -> dict[str, str]:
    """Return the keys of the index `unpublished` for an event of a sampled order."""
    if zlib.crc32(event.order_id.encode()) % SAMPLE:
        return {}
    return {"outbox": WAITING, "outbox_since": timestamp(event.appended_at)}


def _key(order_id: str, version: int) -> dict[str, Any]:
    return key(order_id=order_id, version=version)


def _change(order: Order, event_data: Sequence[events.EventData], source: str, reported: datetime | None) -> _Change:
    new: list[events.Event] = []
    after = order
    for data in event_data:
        event = _event(after, data, source, after.last_event_id, reported)
        new.append(event)
        after = evolve(after, event)
    return _Change(order, new, after)


def _event(order: Order, data: events.EventData, source: str, cause: str | None, reported: datetime | None = None) -> events.Event:
    version = order.version + 1
    now = datetime.now(UTC)
    occurred_at = reported_time.occurred_at(order, data, reported, now) if reported else now
    if reported and abs(reported - occurred_at) > reported_time.CLOCK_SKEW:
        logger.warning("reported_time_not_taken", order_id=order.order_id, type=type(data).__name__, reported=reported.isoformat())
    return events.Event(
        event_id=f"{order.order_id}:{version}",
        type=type(data).__name__,
        schema_version=data.schema_version,
        occurred_at=occurred_at,
        source=source,
        correlation_id=order.correlation_id,
        causation_id=cause,
        order_id=order.order_id,
        order_version=version,
        data=data,
        recorded_at=now if occurred_at != now else None,
    )
