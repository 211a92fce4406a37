"""Event types, commands and their rules, as the facets of an order register them.

A facet (`placing`, `stock`, `payment`, ...) declares its event data and commands and registers a rule for each:
`@evolves(SomeEventData, appended_by="context")` applies an event to the order and makes known its type, the contexts that append
it and whether the bus carries it; `@decides(SomeCommand)` turns a command into events; `@upcasts(SomeEventData, version)` reads
data of an older version. `orderflow.domain.facets` imports all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from orderflow.domain.event import EventData
from orderflow.domain.order_state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from orderflow.domain.event import Event
    from orderflow.domain.order_state import Order

type Decision = tuple[EventData, ...] | Refusal
type Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class Command(Struct, frozen=True):
    """The base of every command."""


class Refusal(Struct, frozen=True):
    """A command that the order's state does not allow."""

    command: str
    state: State
    why: str


EVENT_TYPES: dict[str, type[EventData]] = {}
# The contexts that append each event type.
PRODUCERS: dict[str, tuple[str, ...]] = {}
# Event types of the event stream only: an event on the bus costs as much as seventy on the stream, and no rule matches these.
STREAM_ONLY_EVENTS: set[str] = set()
# Event type and version to the function that turns data of that version, as JSON types, into data of the next version. It drops
# nothing but personal data. Every published version has one.
UPCASTERS: dict[tuple[str, int], Upcaster] = {}
EVOLVE_RULES: dict[type[EventData], Callable[[Order, Any, Event], Order]] = {}
DECIDE_RULES: dict[type[Command], Callable[[Order, Any], Decision]] = {}


def evolves[D: EventData](
    kind: type[D], *, appended_by: str | tuple[str, ...], stream_only: bool = False
) -> Callable[[Callable[[Order, D, Event], Order]], Callable[[Order, D, Event], Order]]:
    """Register an event type together with the function that applies an event of this type to an order.

    `appended_by` names the contexts that append it. A `stream_only` event is not published to the bus, so no rule can match it.
    """

    def register(rule: Callable[[Order, D, Event], Order]) -> Callable[[Order, D, Event], Order]:
        EVENT_TYPES[kind.__name__] = kind
        PRODUCERS[kind.__name__] = (appended_by,) if isinstance(appended_by, str) else appended_by
        if stream_only:
            STREAM_ONLY_EVENTS.add(kind.__name__)
        EVOLVE_RULES[kind] = rule
        return rule

    return register


def decides[C: Command](kind: type[C]) -> Callable[[Callable[[Order, C], Decision]], Callable[[Order, C], Decision]]:
    """Register the function that decides a command."""

    def register(rule: Callable[[Order, C], Decision]) -> Callable[[Order, C], Decision]:
        DECIDE_RULES[kind] = rule
        return rule

    return register


def upcasts(kind: type[EventData], version: int) -> Callable[[Upcaster], Upcaster]:
    """Register the function that turns data of `version` of an event type into data of the next version."""

    def register(upcaster: Upcaster) -> Upcaster:
        UPCASTERS[kind.__name__, version] = upcaster
        return upcaster

    return register


def refuse(order: Order, command: Command, why: str = "") -> Refusal:
    """Return the refusal of a command: for the reason `why`, or because of the order's state."""
    name = type(command).__name__
    return Refusal(name, order.state, why or f"{name} is not possible for an order that is {order.state}")
