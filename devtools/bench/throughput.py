"""Many orders at once: how many a second, and whether each came to the one end that it must."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from itertools import repeat
from typing import Any
from uuid import uuid4

from devtools import ui
from devtools.cli import UserError
from devtools.shop import Shop, has_ended, mails, order_body, state_of
from devtools.target import Target

ORDERS = 500
AT_ONCE = 8
ATTEMPTS = 4
PATIENCE = 60.0  # seconds without any progress
# What every twentieth, and every tenth, order is; the others are confirmed.
MIX = {
    "rejected: out_of_stock": order_body(("SOLD-OUT-LAMP", 1)),
    "rejected: payment_declined": order_body(("MUG-BLUE", 1), payment="tok_declined"),
    "confirmed": order_body(("MUG-BLUE", 2), ("FILTER-100", 1)),
}


@dataclass(frozen=True)
class Result:
    """How it went: orders a second from the first request to the last order's end, and what was not as it must be."""

    orders: int
    seconds: float
    ends: Counter[str]
    lost: int
    twice: int
    stuck: int
    wrong: int

    @property
    def per_second(self) -> float:
        """Orders per second."""
        return self.orders / self.seconds


def measure(target: Target, orders: int = ORDERS, at_once: int = AT_ONCE) -> Result:
    """Place orders, `at_once` at a time, wait for the end of each, and look for any that is lost, twice, stuck or wrong."""
    shop = Shop(target)
    sent = len(mails(target))
    expected: dict[str, str] = {}
    began = time.monotonic()
    with ui.stage(f"{orders} orders") as step, ThreadPoolExecutor(at_once) as pool:
        for done, (order_id, end) in enumerate(pool.map(_place, repeat(shop), range(orders)), 1):
            expected[order_id] = end
            step.detail = f"{done} placed"
        for open_orders in _wait(target, expected):
            step.detail = f"{open_orders} still open"
        seconds = time.monotonic() - began
        step.detail = "mails"
        letters = _letters(target, sent, orders)
    history = _histories(target)
    states = {order_id: state_of(history.get(order_id, [])) for order_id in expected}
    return Result(
        orders=orders,
        seconds=seconds,
        ends=Counter(states.values()),
        lost=sum(order_id not in history for order_id in expected) + orders - len(expected),
        twice=sum(
            len({event["type"] for event in history[order_id]}) < len(history[order_id]) for order_id in expected if order_id in history
        )
        + sum(count > 1 for count in letters.values()),
        stuck=sum(not has_ended(state) for state in states.values()),
        wrong=sum(states[order_id] != end for order_id, end in expected.items()) + orders - len(letters),
    )


def _place(shop: Shop, number: int) -> tuple[str, str]:
    end = "rejected: out_of_stock" if number % 20 == 7 else "rejected: payment_declined" if number % 10 == 3 else "confirmed"
    customer, key = f"load-{uuid4().hex[:12]}", str(uuid4())
    for _ in range(ATTEMPTS):
        # What a client does that got no answer, or a 5xx: the same request with the same key.
        with contextlib.suppress(OSError, HTTPException):
            answer = shop.place(customer, MIX[end], key)
            if answer.status == 201:
                return answer.json()["order_id"], end
            if answer.status < 500:
                raise UserError(f"an order was answered with {answer.status} instead of 201: {answer.body[:200]!r}")
    raise UserError(f"an order was not accepted in {ATTEMPTS} attempts")


def _wait(target: Target, expected: dict[str, str]) -> Iterator[int]:
    """Yield how many orders are open, until there are none, or none has ended for PATIENCE seconds."""
    table, client = target.resources["OrderLogTable"], target.client("dynamodb")
    last, since = len(expected), time.monotonic()
    while last and time.monotonic() - since < PATIENCE:
        still = client.scan(TableName=table, IndexName="open-orders", Select="COUNT")["Count"]
        if still != last:
            last, since = still, time.monotonic()
        yield still
        time.sleep(0.1)


def _letters(target: Target, sent: int, orders: int) -> Counter[str]:
    """The mails by their subject, which names the order, once there are enough or no more come."""
    last, since = 0, time.monotonic()
    while True:
        found = mails(target)[sent:]
        if len(found) >= orders or (len(found) == last and time.monotonic() - since > PATIENCE):
            break
        if len(found) != last:
            last, since = len(found), time.monotonic()
        time.sleep(0.2)
    return Counter(mail["Subject"] for mail in found)


def _histories(target: Target) -> dict[str, list[dict[str, Any]]]:
    """The events of every order on the log, oldest first."""
    pages = target.client("dynamodb").get_paginator("scan").paginate(TableName=target.resources["OrderLogTable"])
    items = sorted((item for page in pages for item in page["Items"]), key=lambda item: int(item["version"]["N"]))
    history: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        reason = {"reason": _reason(item["event"]["S"])} if item["type"]["S"] == "OrderRejected" else {}
        history.setdefault(item["order_id"]["S"], []).append({"type": item["type"]["S"], "data": reason})
    return history


def _reason(event: str) -> str:
    return json.loads(event)["data"]["reason"]
