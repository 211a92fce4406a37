"""Finding the orders that stand still and running their sagas again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from orderflow.aws.observability import logger
from orderflow.domain.order import is_active

if TYPE_CHECKING:
    from operations.saga import Workflow
    from orderflow.aws.active_orders import ActiveOrder
    from orderflow.aws.order_log import OrderLog

# So many executions are started well within the function's time; the others wait for the next run.
MAX_ORDERS = 500


class SagasNotStarted(RuntimeError):
    """The sagas of some orders could not be started."""


class Recovered(Struct, frozen=True):
    """What a sweep saw and did: how many orders were open, stuck, and run again; the oldest one's age in seconds."""

    open: int
    stuck: int
    run: int
    failed: int
    oldest_seconds: int


def recover(
    log: OrderLog, saga: Workflow, found: Sequence[ActiveOrder], *, now: datetime, stuck_after: timedelta, most: int = MAX_ORDERS
) -> Recovered:
    """Run the saga of every order of `found`, oldest first, that has been open for longer than `stuck_after`.

    One that the saga has no work with was marked when its last writer died: it loses the mark. At most `most`
    orders are looked at. Of more than that a random choice is, so that orders which nothing helps
    cannot keep the others waiting for ever. One that fails is logged and counted, the others go on.
    """
    stuck = [order for order in found if now - order.since > stuck_after]
    chosen = stuck if len(stuck) <= most else random.sample(stuck, most)
    results = [_recover(log, saga, order.order_id) for order in chosen]
    return Recovered(
        open=len(found),
        stuck=len(stuck),
        run=results.count("run"),
        failed=results.count("failed"),
        oldest_seconds=max(0, int((now - found[0].since).total_seconds())) if found else 0,
    )


def _recover(log: OrderLog, saga: Workflow, order_id: str) -> str:
    try:
        order = log.load(order_id)
        if not is_active(order):
            log.clear_marker(order)
            return "ended"
        saga.start(order_id, order.correlation_id, order.last_event_id or "")
    except Exception:  # noqa: BLE001 - whatever is wrong with one order must not keep the others waiting
        logger.exception("saga not run", order_id=order_id)
        return "failed"
    logger.warning("saga run again", order_id=order_id, correlation_id=order.correlation_id)
    return "run"
