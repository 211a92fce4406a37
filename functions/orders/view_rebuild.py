"""Rebuilds the order view and the counts of unpaid orders from the order log in batches, which an operator's calls continue."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from orders import summaries
from orders.domain.unpaid_limits import is_unpaid

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.aws.order_log import OrderLog
    from orders.allowances import Allowances
    from orders.summary_store import OrderView

BATCH = 100


class InvalidRequest(ValueError):
    """The request is neither empty nor the cursor of a rebuild."""


class RebuildCursor(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a rebuild continues: the phase, and the event of the log after which to continue. The default is the beginning."""

    phase: Literal["drop", "build"] = "drop"
    after: tuple[str, Annotated[int, Meta(ge=1)]] | None = None


class Progress(Struct, frozen=True, omit_defaults=True):
    """The rows that a call deleted and wrote, and the cursor of the next call."""

    outcome: Literal["more", "rebuilt"]
    dropped: int
    listed: int
    next: RebuildCursor | None = None


def parse_cursor(event: object) -> RebuildCursor:
    """Return the cursor that an operator sent.

    Raises:
        InvalidRequest: it is no cursor.
    """
    try:
        return msgspec.convert(event, RebuildCursor)
    except msgspec.ValidationError as error:
        message = f"expected {{}} or the `next` of an answer: {error}"
        raise InvalidRequest(message) from None


class Stores(NamedTuple):
    """The log, and the stores that are rebuilt from it. Counts of unpaid orders are kept until `expires_at` (UTC)."""

    log: OrderLog
    view: OrderView
    allowances: Allowances
    client: DynamoDBClient
    expires_at: datetime


def rebuild(stores: Stores, cursor: RebuildCursor, *, has_time: Callable[[], bool]) -> Progress:
    """Continue a rebuild batch by batch, at least one, while `has_time` returns true."""
    done = Progress("more", 0, 0, cursor)
    while done.next:
        done = _delete_batch(stores.view, done) if done.next.phase == "drop" else _build_batch(stores, done, done.next)
        if not has_time():
            break
    return done


def _delete_batch(view: OrderView, done: Progress) -> Progress:
    deleted = view.delete_some(BATCH)
    return replace(done, dropped=done.dropped + deleted, next=RebuildCursor("drop" if deleted else "build"))


def _build_batch(stores: Stores, done: Progress, cursor: RebuildCursor) -> Progress:
    orders, after = stores.log.orders(BATCH, cursor.after)
    for order_id in orders:
        order = stores.log.load(order_id)
        stores.view.put(summaries.row(order))
        if is_unpaid(order):
            stores.allowances.restore(stores.client, order, stores.expires_at)
    listed = done.listed + len(orders)
    if after is None:
        return Progress("rebuilt", done.dropped, listed)
    return replace(done, listed=listed, next=RebuildCursor("build", after))
