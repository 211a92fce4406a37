"""Reserve for an order, release again or let it expire: the stock, the reservation and the event in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from inventory.domain import stock_rules
from inventory.domain.stock_rules import Aside, Back, NotAside
from inventory.stock_shards import Short
from orderflow.aws.dynamodb import Conflict
from orderflow.domain.commands import ExpireReservation, RecordRelease, RecordReservation, RecordShortage, Refusal, decide
from orderflow.domain.order import remaining, saga_blocker, stock_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from inventory.store import Inventory, Write
    from orderflow.aws.order_log import OrderLog
    from orderflow.domain.events import EventData
    from orderflow.domain.order import Order

Reserved = Literal["reserved", "out_of_stock", "failing", "cancelling", "held", "inactive"]
Released = Literal["released", "nothing_to_release", "inactive"]
Settled = Literal["settled", "nothing_to_settle"]

_ATTEMPTS = 5


def reserve(log: OrderLog, inventory: Inventory, order_id: str) -> Reserved:
    """Set every line of the order aside, or record which are short, and say which of these is so now.

    An order that was reserved, or found short, before stays as it is.

    Raises:
        OrderNotFound: there is no such order.
        TransactionConditionFailed: the reservation row is there without its event, which nothing here writes.
        Conflict, TransactionConflict: others kept getting in the way.
    """
    order = log.load(order_id)
    for _ in range(_ATTEMPTS):
        outcome = _reserved(order)
        if outcome:
            return outcome
        try:
            order = _take(log, inventory, order)
        except Conflict:
            order = log.refresh(order)
    raise Conflict(order_id)


def release(log: OrderLog, inventory: Inventory, order_id: str) -> Released:
    """Put what an order that is undone holds, and that has not left, up for sale again, and say what became of its reservation.

    Raises:
        OrderNotFound: there is no such order.
        RuntimeError: the order holds stock but is not being undone, so the stock is still its own.
        NotAside, TransactionConditionFailed: the tables do not hold what the order's events say is reserved.
        Conflict, TransactionConflict: others kept getting in the way.
    """
    order = log.load(order_id)
    for _ in range(_ATTEMPTS):
        outcome = _released(order)
        if outcome:
            return outcome
        try:
            order = _give_back(log, inventory, order)
        except Conflict:
            order = log.refresh(order)
        except NotAside:
            # Somebody else may have given it back since the order was read.
            before, order = order, log.refresh(order)
            if order.version == before.version:
                raise
    raise Conflict(order_id)


def expire(log: OrderLog, inventory: Inventory, order_id: str, before: datetime) -> bool:
    """Put up for sale again what was set aside before `before` (UTC), unless the order is confirmed; tell whether that was done.

    The order can be reserved again afterwards. Where somebody else is at work on it, it is left to them.

    Raises:
        OrderNotFound: there is no such order.
        TransactionConditionFailed: the tables do not hold what the order's events say is reserved.
        TransactionConflict: other transactions kept getting in the way.
    """
    order = log.load(order_id)
    facts = decide(order, ExpireReservation(before))
    if isinstance(facts, Refusal) or not facts:
        return False
    try:
        inventory.freeing(order_id, stock_lines(order), _appending(log, order, facts))
    except Conflict:
        return False
    return True


def settle(log: OrderLog, inventory: Inventory, order_id: str, min_version: int | None = None) -> Settled:
    """Bring stock and the order's reservation in line with what has left and come back, whatever they were told before.

    `min_version` is the version of the event that is the reason, if there is one. What is read of an order may be no newer than that:
    rows never go back to what was before.

    Raises:
        OrderNotFound: there is no such order.
        NotAside, TransactionConditionFailed: the tables do not hold what the order's events say.
        Conflict, TransactionConflict: others kept getting in the way.
    """
    for attempt in range(_ATTEMPTS):
        # The row first: one that is gone says nothing about what leaves later.
        aside = inventory.aside(order_id)
        order = log.load(order_id, None if attempt else min_version)
        back = inventory.back(order_id) if stock_rules.back(order).returns else Back()
        try:
            plan = stock_rules.settlement(order, aside, back)
            return "settled" if inventory.settle(order_id, aside, back, plan) else "nothing_to_settle"
        except NotAside:
            if attempt or min_version is None:
                raise
        except Conflict:
            continue
    raise Conflict(order_id)


def _reserved(order: Order) -> Reserved | None:
    # Once it was screened, a payment may be held for it which only a void finds, known to the log or not.
    if order.state == "failing" and order.failure and order.failure.reason == "out_of_stock" and not order.screening:
        return "out_of_stock"
    return saga_blocker(order) or ("reserved" if order.reservation == "held" else None)


def _released(order: Order) -> Released | None:
    if saga_blocker(order) == "inactive":
        return "inactive"
    match order.reservation:
        case "released":
            return "released"
        case "none":
            return "nothing_to_release"
        case "held":
            return None if remaining(order) else "nothing_to_release"


def _take(log: OrderLog, inventory: Inventory, order: Order) -> Order:
    lines = stock_lines(order)
    facts = _facts(order, RecordReservation())
    try:
        return inventory.reserving(order.order_id, lines, _appending(log, order, facts))
    except Short as short:
        shortages = stock_rules.shortages([line for line in lines if line.sku in short.available], short.available)
        if not shortages:
            raise
        return log.record(order, RecordShortage(shortages), source="inventory").order


def _give_back(log: OrderLog, inventory: Inventory, order: Order) -> Order:
    facts = _facts(order, RecordRelease())
    row = inventory.aside(order.order_id)
    if row is None:
        raise NotAside(order.order_id)
    # What has left may still count as set aside; it is settled with the rest.
    gone = Aside(parcels=len(order.parcels))
    moves = stock_rules.moves(stock_rules.holding(order, row, Back()), stock_rules.holding(order, gone, Back()))
    return inventory.releasing(order.order_id, row, moves, _appending(log, order, facts))


def _appending(log: OrderLog, order: Order, facts: Sequence[EventData]) -> Write[Order]:
    return lambda writes: log.append(order, facts, source="inventory", extra_writes=writes, attempts=1)


def _facts(order: Order, command: RecordReservation | RecordRelease) -> tuple[EventData, ...]:
    match decide(order, command):
        case Refusal(why=why):
            raise RuntimeError(why)
        case facts:
            return facts
