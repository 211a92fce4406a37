"""Orders that the fraud rules hold, and the reviewer who decides on them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from devtools.local.api_client import order_body, wait_until

if TYPE_CHECKING:
    from devtools.local.post_fulfilment import ScriptedOrder

HELD = "held"
REVIEWER = "rex"
POLL_SECONDS = 0.25


def approve(order: ScriptedOrder) -> str:
    """A reviewer approves a held order."""
    order.place(order_body(("ESPRESSO-PRO", 1)))
    order.wait_for_state(HELD)
    body = json.dumps({"decision": "approve", "note": "known customer"}).encode()
    path = f"/reviews/{order.order_id}/decision"
    # The review can start a moment after the order is held; a repeated decision is answered with 409.
    wait_until(lambda: order.api.call("POST", path, REVIEWER, body=body).status in {200, 409}, order.seconds, POLL_SECONDS)
    order.wait_for_state("confirmed")
    return order.summary()
