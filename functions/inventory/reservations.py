"""Reserves, releases, expires and syncs the stock of an order: stock, rows and the order's event change in one transaction."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Literal, NoReturn

from inventory.domain import stock_rules
from inventory.domain.stock_rules import ReservationMissing, RestockedLines
from inventory.stock_shards import OutOfStock
from orderflow.aws.dynamodb import ATTEMPTS, Conflict, TransactionConditionFailed, TransactionConflict, backoff
from orderflow.aws.order_log import Recorded, Refused
from orderflow.domain.commands import Command, ExpireReservation, RecordRelease, RecordReservation, RecordShortage
from orderflow.domain.order import remaining, saga_blocker, stock_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from inventory.domain.stock_rules import StockChange
    from inventory.store import Inventory
    from orderflow.aws.order_log import OrderLog
    from orderflow.domain.order import Order

ReserveOutcome = Literal["reserved", "out_of_stock", "failing", "cancelling", "held", "inactive"]
ReleaseOutcome = Literal["released", "nothing_to_release", "inactive"]
SyncOutcome = Literal["synced", "unchanged"]

_SOURCE = "inventory"


def _retry_on_conflict[**P, A](use_case: Callable[P, A]) -> Callable[P, A]:
    """Repeat a use case from its first read after a concurrent change of the order or its rows."""

    @wraps(use_case)
    def retried(*args: P.args, **kwargs: P.kwargs) -> A:
        for _ in range(ATTEMPTS - 1):
            try:
                return use_case(*args, **kwargs)
            except Conflict:
                continue
        return use_case(*args, **kwargs)

    return retried


@_retry_on_conflict
def reserve(log: OrderLog, inventory: Inventory, order_id: str) -> ReserveOutcome:
    """Reserve every line of the order, or record which lines are short; return the recorded outcome.

    An order that was reserved or short before does not change.

    Raises:
        OrderNotFound: there is no such order.
        TransactionConditionFailed: the order has a reservation row without an event.
        Conflict, TransactionConflict: every attempt lost against a concurrent change of the order or its stock.
    """
    order = log.load(order_id)
    if known := _reserve_outcome(order):
        return known
    try:
        result = _change_stock(log, inventory, order, stock_rules.reservation(order), RecordReservation())
    except OutOfStock as error:
        shortages = stock_rules.shortages(stock_lines(order), error.available)
        if not shortages:
            raise
        result = log.record(order, RecordShortage(shortages), source=_SOURCE)
    return _reserve_outcome(result.order) or _raise_refused(result)


@_retry_on_conflict
def release(log: OrderLog, inventory: Inventory, order_id: str) -> ReleaseOutcome:
    """Release the lines of a failing or cancelling order that were not dispatched; return the recorded outcome.

    Raises:
        OrderNotFound: there is no such order.
        RuntimeError: the order is neither failing nor cancelling, so it keeps its stock.
        ReservationMissing, OutOfStock: the tables lack stock that is reserved by the order's events.
        Conflict, TransactionConflict: every attempt lost against a concurrent change of the order or its stock.
    """
    order = log.load(order_id)
    if known := _release_outcome(order):
        return known
    row = inventory.reserved_lines(order_id)
    if row is None:
        # A concurrent run of the saga may have released it since the order was read.
        if log.refresh(order).version == order.version:
            raise ReservationMissing(order_id)
        raise Conflict(order_id)
    try:
        result = _change_stock(log, inventory, order, stock_rules.release(order, row), RecordRelease())
    except TransactionConditionFailed:
        raise Conflict(order_id) from None
    return _release_outcome(result.order) or _raise_refused(result)


def expire(log: OrderLog, inventory: Inventory, order_id: str, before: datetime) -> bool:
    """Expire a reservation made before `before` (UTC), unless the order is confirmed; return whether it expired.

    The order can be reserved again afterwards. After a concurrent change of the order, nothing expires in this run.

    Raises:
        OrderNotFound: there is no such order.
        TransactionConditionFailed, OutOfStock: the tables lack stock that is reserved by the order's events.
        TransactionConflict: other transactions held the same items in every attempt.
    """
    order = log.load(order_id)
    try:
        result = _change_stock(log, inventory, order, stock_rules.expiry(order), ExpireReservation(before))
    except Conflict:
        return False
    return isinstance(result, Recorded) and bool(result.events)


def sync_stock(log: OrderLog, inventory: Inventory, order_id: str, min_version: int | None = None) -> SyncOutcome:
    """Bring stock and the order's rows in line with the dispatched parcels and received returns of its events.

    `min_version` is the version of the event that triggered this, if one did. An order read with it may lack later events; rows that
    contain later events remain unchanged.

    Raises:
        OrderNotFound: there is no such order.
        ReservationMissing, OutOfStock: the tables lack stock that the order has by its events.
        Conflict, TransactionConflict: every attempt lost against a concurrent change of the rows or the stock.
    """
    if min_version is not None:
        try:
            return _sync(log, inventory, order_id, min_version)
        except (Conflict, ReservationMissing):
            pass
    return _sync_latest(log, inventory, order_id)


def _sync(log: OrderLog, inventory: Inventory, order_id: str, min_version: int | None = None) -> SyncOutcome:
    # The row is read before the order: a missing row says nothing about parcels that are dispatched later.
    row = inventory.reserved_lines(order_id)
    order = log.load(order_id, min_version)
    restocked = inventory.restocked_lines(order_id) if stock_rules.restocked_lines(order).returns else RestockedLines()
    change = stock_rules.sync(order, row, restocked)
    if not change.changes_rows:
        return "unchanged"
    try:
        _change_stock(log, inventory, order, change)
    except TransactionConditionFailed:
        raise Conflict(order_id) from None
    return "synced"


_sync_latest = _retry_on_conflict(_sync)


def _change_stock(
    log: OrderLog, inventory: Inventory, order: Order, change: StockChange, command: Command | None = None
) -> Recorded | Refused:
    """Write a stock change in one transaction with the events of `command`, if there is one.

    The only loop that retries for stock: if other transactions hold a row, or a shard has too few units, it tries other shards.

    Raises:
        OutOfStock: the stock cannot cover the change.
        TransactionConditionFailed: a row of the order is not as it was before the change.
        Conflict: the log has later events than `order`.
        TransactionConflict: other transactions held the same items in every attempt.
    """
    rows = inventory.row_writes(order.order_id, change)
    allocation = inventory.shards.allocation(order.order_id, change.moves)
    conflict = TransactionConflict()
    for attempt in range(ATTEMPTS):
        if attempt:
            backoff(attempt)
        writes = [*inventory.shards.writes(allocation), *rows]
        try:
            if command:
                return log.record(order, command, source=_SOURCE, extra_writes=writes)
            inventory.write(writes)
        except TransactionConflict as met:
            conflict = met
            if attempt:
                allocation = inventory.shards.after_conflict(order.order_id, allocation, met.reasons)
        except TransactionConditionFailed as failed:
            allocation = inventory.shards.after_shortage(allocation, failed.reasons)
        else:
            return Recorded(order)
    raise conflict


def _raise_refused(result: Recorded | Refused) -> NoReturn:
    raise RuntimeError(result.refusal.why if isinstance(result, Refused) else f"{result.order.order_id} is {result.order.state}")


def _reserve_outcome(order: Order) -> ReserveOutcome | None:
    # A screened order may have a payment that only a void finds, known to the log or not: it is compensated as failing.
    if order.state == "failing" and order.failure and order.failure.reason == "out_of_stock" and not order.screening:
        return "out_of_stock"
    return saga_blocker(order) or ("reserved" if order.reservation == "held" else None)


def _release_outcome(order: Order) -> ReleaseOutcome | None:
    if saga_blocker(order) == "inactive":
        return "inactive"
    match order.reservation:
        case "released":
            return "released"
        case "none":
            return "nothing_to_release"
        case "held":
            return None if remaining(order) else "nothing_to_release"
