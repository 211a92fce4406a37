"""The order log: one DynamoDB item per event. It is the source of truth and the outbox.

An append is a conditional write of the next version: of two concurrent writers one succeeds, and the other reloads the order. The
table's stream carries the event to the publisher, so no code writes and then publishes. `order_log_items` describes the items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from orderflow.aws.active_order_markers import ActiveOrderMarkers
from orderflow.aws.dynamodb import ATTEMPTS, Conflict, encode_item, transact, write_item
from orderflow.aws.event_envelopes import OrderChange, next_event, next_events
from orderflow.aws.observability import measure, measure_all
from orderflow.aws.order_cache import OrderCache
from orderflow.aws.order_log_items import active_marker, event_item
from orderflow.aws.order_log_reader import OrderLogReader
from orderflow.domain import events, metrics
from orderflow.domain.order import Order, after_events
from orderflow.domain.order_metrics import measured

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, TransactWriteItemTypeDef

    from orderflow.domain.commands import Command, Refusal

# Concurrent requests of a customer write the same row; all attempts together wait 2.3 seconds at most.
PLACE_ATTEMPTS = 10


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
        self._reader = OrderLogReader(table, client)
        self._markers = ActiveOrderMarkers(table, client)
        self._cache = OrderCache()

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
        event = next_event(Order(order_id=order_id, correlation_id=correlation_id), placed, "orders")
        put = self._put_request({**event_item(event), **active_marker(event), "fingerprint": fingerprint})
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
        item = self._reader.first_item(order_id)
        if item is None:
            raise OrderNotFound(order_id)
        return _same_request(item, order_id, fingerprint)

    def payment_token_v1(self, order_id: str) -> str | None:
        """Return the payment token of an order that version 1.0 placed; None for a later order."""
        return self._reader.payment_token_v1(order_id)

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
        found = self._reader.events_after(order_id, after, min_version)
        if not found:
            raise OrderNotFound(order_id)
        return found

    def load(self, order_id: str, min_version: int | None = None) -> Order:
        """Return the order; `min_version` as in `history`.

        Raises:
            OrderNotFound: there are no events.
        """
        return self.refresh(self._cache.get(order_id) or Order(order_id=order_id), min_version)

    def refresh(self, order: Order, min_version: int | None = None) -> Order:
        """Return `order` with the events appended since it was loaded: only those are read. `min_version` as in `history`.

        Raises:
            OrderNotFound: there are no events.
        """
        after = after_events(order, self._reader.events_after(order.order_id, order.version, min_version))
        if not after.version:
            raise OrderNotFound(order.order_id)
        self._cache.put(after)
        return after

    def orders(self, most: int, after: tuple[str, int] | None) -> tuple[list[str], tuple[str, int] | None]:
        """Return the ids of the orders placed among the next `most` events of the whole log, and the key after which to continue.

        Only for rebuilds: it scans the table. The key is None at the end of the log.
        """
        return self._reader.scan_orders(most, after)

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
    ) -> list[OrderChange]:
        changes = [next_events(order, event_data, source, occurred_at) for order, event_data in appends]
        puts = [self._put_request(event_item(event)) for change in changes for event in change.new]
        markers = [self._markers.set_write(change.new[-1]) for change in changes if change.activates]
        if len(puts) == 1 and not markers and not extra_writes:
            self._append_one(puts[0])
        else:
            transact(self._client, [*({"Put": put} for put in puts), *markers], extra_writes, own=len(puts), attempts=attempts)
        for change in changes:
            self._cache.put(change.after)
            measure_all(found for event in change.new for found in measured(change.after, event))
            if change.deactivates:
                self._markers.try_clear(change.after, change.new[-1].appended_at)
        return changes

    def clear_marker(self, order: Order, since: datetime | None = None) -> None:
        """Clear the order's active-order marker, see `ActiveOrderMarkers.clear`."""
        self._markers.clear(order, since)

    def _append_one(self, put: PutTypeDef) -> None:
        try:
            write_item(self._client, self._client.put_item, **put)
        except self._client.exceptions.ConditionalCheckFailedException:
            raise Conflict from None

    def _put_request(self, item: dict[str, Any]) -> PutTypeDef:
        return {"TableName": self._table, "Item": encode_item(item), "ConditionExpression": "attribute_not_exists(order_id)"}


def _same_request(item: dict[str, Any], order_id: str, fingerprint: str) -> events.Event:
    if item["fingerprint"] != fingerprint:
        raise RequestMismatch(order_id)
    return events.decode(item["event"])
