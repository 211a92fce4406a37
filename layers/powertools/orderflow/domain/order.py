"""Folding an order from its events, and questions about the result.

`fold` makes an order's state from its events and `evolve` applies one event; `orderflow.domain.commands` decides which events may
come next. All of it is pure.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from orderflow.domain.facets import *
from orderflow.domain.order_state import *
from orderflow.domain.quantities import *
from orderflow.domain.registry import *

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orderflow.domain.event import Event

SagaBlocker = Literal["held", "failing", "cancelling", "inactive"]
StepBlocker = SagaBlocker | Literal["unreserved"]
Marker = Literal["open", "held"]


def fold(order_id: str, history: Iterable[Event]) -> Order:
    """Return the state of the order after `history`, its events in order of version."""
    return after_events(Order(order_id=order_id), history)


def after_events(order: Order, following: Iterable[Event]) -> Order:
    """Return the order after `following`, the events after its version in order."""
    return reduce(evolve, following, order)


def evolve(order: Order, event: Event) -> Order:
    """Return the order after one more event.

    Raises:
        ValueError: the event does not follow the order's version, or belongs to another order.
    """
    if event.order_id != order.order_id or event.order_version != order.version + 1:
        message = f"{event.event_id} does not follow version {order.version} of {order.order_id}"
        raise ValueError(message)
    latest_of_types = {**order.latest, event.type: Latest(event.order_version, event.appended_at)}
    changed = replace(order, version=event.order_version, last_event_id=event.event_id, latest=latest_of_types)
    return EVOLVE_RULES[type(event.data)](changed, event.data, event)


def latest(order: Order, types: Iterable[str]) -> Latest | None:
    """Return the last event of any of these types, or None where there was none."""
    return max((order.latest[name] for name in types if name in order.latest), key=lambda one: one.version, default=None)


def marker(order: Order) -> Marker | None:
    """Return the order's marker on the active-order index: `open` while the saga works on it, `held` during review, else None."""
    match order.state:
        case "placed" | "failing" | "cancelling":
            return "open"
        case "held":
            return "held"
        case _:
            return None


def is_active(order: Order) -> bool:
    """Return whether the saga still works on the order. The sweeper restarts the saga of such an order when it is stuck."""
    return marker(order) == "open"


def saga_blocker(order: Order) -> SagaBlocker | None:
    """Return the reason why the saga cannot continue with the order, or None if it can."""
    match order.state:
        case "held" | "failing" | "cancelling":
            return order.state
        case "new" | "placed":
            return None
        case _:
            return "inactive"


def step_blocker(order: Order) -> StepBlocker | None:
    """Return the reason why a step after the reservation cannot continue: `saga_blocker`, or that no stock is reserved."""
    return saga_blocker(order) or ("unreserved" if order.reservation == "none" else None)
