"""Throughput of concurrent orders, and whether each reached its expected end state."""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from itertools import repeat
from typing import Any
from uuid import uuid4

from devtools import ui
from devtools.cli import UserError
from devtools.local.api_client import ApiClient, emails, is_final, order_body, state_of, wait_until
from devtools.target import Target
from orderflow.aws import dynamodb

ORDERS = 500
AT_ONCE = 8
ATTEMPTS = 4
PATIENCE = 60.0  # seconds to wait for an order or for the next email
# Every twentieth and every tenth order; the others are confirmed.
MIX = {
    "rejected: out_of_stock": order_body(("SOLD-OUT-LAMP", 1)),
    "rejected: payment_declined": order_body(("MUG-BLUE", 1), payment="tok_declined"),
    "confirmed": order_body(("MUG-BLUE", 2), ("FILTER-100", 1)),
}


@dataclass(frozen=True)
class Result:
    """The result: the seconds from the first request to the last order's end, and the numbers of orders with a fault."""

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
    """Keep `at_once` orders active until `orders` have ended, and count those that are lost, duplicated, stuck or wrong."""
    shop = ApiClient(target)
    with ThreadPoolExecutor(at_once) as pool:
        with ui.stage("warm up"):
            first = dict(pool.map(_follow, repeat(shop), range(2 * at_once)))
            _emails(target, 0, first)
        sent = len(emails(target))
        expected: dict[str, str] = {}
        with ui.stage(f"{orders} orders") as step:
            began = time.monotonic()
            for done, (order_id, end) in enumerate(pool.map(_follow, repeat(shop), range(orders)), 1):
                expected[order_id] = end
                step.detail = f"{done} ended"
            seconds = time.monotonic() - began
            sent_emails = _emails(target, sent, expected)
            step.detail = f"{orders / seconds:.1f} a second"
    history = _histories(target)
    states = {order_id: state_of(history.get(order_id, [])) for order_id in expected}
    return Result(
        orders=orders,
        seconds=seconds,
        ends=Counter(states.values()),
        lost=sum(order_id not in history for order_id in expected) + orders - len(expected),
        twice=sum(_has_duplicate_event(history.get(order_id, [])) for order_id in expected)
        + sum(count > 1 for count in sent_emails.values()),
        stuck=sum(not is_final(state) for state in states.values()),
        wrong=sum(states[order_id] != end for order_id, end in expected.items()) + len(expected) - len(sent_emails),
    )


def _has_duplicate_event(events: list[dict[str, Any]]) -> bool:
    return len({event["type"] for event in events}) < len(events)


def _follow(shop: ApiClient, number: int) -> tuple[str, str]:
    """Place an order and wait for its end, PATIENCE seconds at most; return its id and its expected end state."""
    end = "rejected: out_of_stock" if number % 20 == 7 else "rejected: payment_declined" if number % 10 == 3 else "confirmed"
    order_id = _place(shop, MIX[end])
    wait_until(lambda: _is_over(shop.target, order_id), PATIENCE, 0.05)
    return order_id, end


def _place(shop: ApiClient, body: dict[str, Any]) -> str:
    customer, key = f"load-{uuid4().hex[:12]}", str(uuid4())
    for _ in range(ATTEMPTS):
        # As a client without an answer, or with a 5xx, should: the same request with the same key.
        with contextlib.suppress(OSError, HTTPException):
            answer = shop.place(customer, body, key)
            if answer.status == 201:
                return answer.json()["order_id"]
            if answer.status < 500:
                raise UserError(f"an order was answered with {answer.status} instead of 201: {answer.body[:200]!r}")
    raise UserError(f"an order got no answer below 500 in {ATTEMPTS} attempts; look at .local/*.log")


def _is_over(target: Target, order_id: str) -> bool:
    """Return whether the order is off the active-order index: its first event has the marker until the last event is written."""
    found = target.client("dynamodb").get_item(
        TableName=target.resources["OrderLog"],
        Key=dynamodb.key(order_id=order_id, version=1),
        ProjectionExpression="open_shard",
        ConsistentRead=True,
    )
    return "open_shard" not in found.get("Item", {})


def _emails(target: Target, sent: int, expected: Collection[str]) -> Counter[str]:
    """Return the number of emails per order, once each has one or none arrived for PATIENCE seconds."""
    last, since = 0, time.monotonic()
    while True:
        words = (word for email in emails(target)[sent:] for word in email["Subject"].split())
        found = Counter(word for word in words if word in expected)
        if len(found) == len(expected) or (found.total() == last and time.monotonic() - since > PATIENCE):
            return found
        if found.total() != last:
            last, since = found.total(), time.monotonic()
        time.sleep(0.2)


def _histories(target: Target) -> dict[str, list[dict[str, Any]]]:
    """Return the events of every order in the log, oldest first."""
    pages = target.client("dynamodb").get_paginator("scan").paginate(TableName=target.resources["OrderLog"])
    items = sorted((item for page in pages for item in page["Items"]), key=lambda item: int(item["version"]["N"]))
    history: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        reason = {"reason": _reason(item["event"]["S"])} if item["type"]["S"] == "OrderRejected" else {}
        history.setdefault(item["order_id"]["S"], []).append({"type": item["type"]["S"], "data": reason})
    return history


def _reason(event: str) -> str:
    return json.loads(event)["data"]["reason"]
