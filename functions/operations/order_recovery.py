"""Finds stuck orders and starts their sagas again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.aws.observability import logger
from orderflow.domain.order import is_active

if TYPE_CHECKING:
    from operations.workflows import Workflow
    from orderflow.aws.active_orders import ActiveOrder
    from orderflow.aws.order_log import OrderLog

# Starting this many executions takes a fraction of the function's timeout; the next run continues.
MAX_ORDERS = 500


class SagasNotStarted(RuntimeError):
    """The sagas of some stuck orders could not be started."""


class Recovered(Struct, frozen=True):
    """The result of a run: how many orders were active, stuck, started and failed; the age of the oldest in seconds."""

    active: int
    stuck: int
    started: int
    failed: int
    oldest_seconds: int


def recover(
    log: OrderLog, saga: Workflow, active: Sequence[ActiveOrder], *, now: datetime, stuck_after: timedelta, most: int = MAX_ORDERS
) -> Recovered:
    """Start the saga of every order that has been active for longer than `stuck_after`, oldest first.

    `active` is sorted by age. An order that is no longer active still has a marker if its last writer crashed: clear it.
    A run handles at most `most` orders, chosen at random, so that orders which fail in every run cannot block the others.
    A failure is logged and counted; the run continues.
    """
    stuck = [order for order in active if now - order.since > stuck_after]
    chosen = stuck if len(stuck) <= most else random.sample(stuck, most)
    results = [_recover(log, saga, order.order_id) for order in chosen]
    return Recovered(
        active=len(active),
        stuck=len(stuck),
        started=results.count("started"),
        failed=results.count("failed"),
        oldest_seconds=max(0, int((now - active[0].since).total_seconds())) if active else 0,
    )


def _recover(log: OrderLog, saga: Workflow, order_id: str) -> str:
    try:
        order = log.load(order_id)
        if not is_active(order):
            log.clear_marker(order)
            return "inactive"
        saga.start(order_id, order.correlation_id, order.last_event_id or "")
    except Exception:  # noqa: BLE001 - an error of one order must not block the others
        logger.exception("saga_not_restarted", order_id=order_id)
        return "failed"
    logger.warning("saga_restarted", order_id=order_id, correlation_id=order.correlation_id)
    return "started"
