"""The commands of an order, and the one way to decide them.

Every context appends its events through `decide`, so an order has one set of rules. A command that has had its effect already
decides to nothing (an empty tuple). That makes every saga step and every webhook event safe to process again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.domain.facets import *
from orderflow.domain.registry import *

if TYPE_CHECKING:
    from orderflow.domain.order_state import Order
    from orderflow.domain.registry import Decision


def decide(order: Order, command: Command) -> Decision:
    """Return the events that `command` adds to the order, or its refusal; an empty tuple if the command has had its effect already."""
    return DECIDE_RULES[type(command)](order, command)
