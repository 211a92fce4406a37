"""Access rules: every route called by owner, stranger, reviewer, staff, without a token, and with an expired one."""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from devtools.local.api_client import order_body
from devtools.web import Answer
from tests.integration.deployed_stack import DeployedStack, eventually, order_types

CALLERS = ("owner", "stranger", "reviewer", "staff", "anonymous", "expired")
GROUPS: dict[str, tuple[str, ...]] = {"reviewer": ("reviewers",), "staff": ("staff",)}
# The status that each caller gets, in the order of CALLERS.
TABLE = """
GET  /orders                                  | 200 200 200 200 401 401
POST /orders                                  | 201 201 201 201 401 401
GET  /orders/{order_id}                       | 200 404 404 404 401 401
GET  /orders/{order_id}/events                | 200 404 404 404 401 401
GET  /orders/{order_id}/invoice               | 200 404 404 404 401 401
GET  /orders/{order_id}/credit-notes/{number} | 404 404 404 404 401 401
POST /orders/{order_id}/returns               | 409 404 404 404 401 401
POST /orders/{order_id}/cancellation          | 202 404 404 404 401 401
GET  /points                                  | 200 200 200 200 401 401
GET  /analytics/sales                         | 403 403 403 200 401 401
GET  /analytics/leaderboard                   | 403 403 403 200 401 401
GET  /reviews                                 | 403 403 200 403 401 401
POST /reviews/{order_id}/decision             | 403 403 409 403 401 401
GET  /products                                | 200 200 200 200 200 200
GET  /products/{sku}                          | 200 200 200 200 200 200
GET  /openapi.json                            | 200 200 200 200 200 200
"""


class Order(NamedTuple):
    """A confirmed and invoiced order with its owner."""

    owner: str
    sku: str
    order_id: str


def _rows() -> list[tuple[str, str, str, int]]:
    lines = (line.partition("|") for line in TABLE.strip().splitlines())
    return [
        (*route.split(), caller, int(status))  # pyright: ignore[reportReturnType]
        for route, _, statuses in lines
        for caller, status in zip(CALLERS, statuses.split(), strict=True)
    ]


@pytest.fixture(scope="module")
def order(stack: DeployedStack) -> Order:
    owner, sku = stack.customer("owner"), stack.product()
    order_id = stack.buy(owner, sku)
    eventually(
        lambda: {event.type for event in stack.log(order_id)},
        lambda types: "InvoiceIssued" in types,
        within=stack.patience,
        what=f"the invoice of {order_id}",
    )
    return Order(owner, sku, order_id)


def _call(stack: DeployedStack, order: Order, method: str, path: str, caller: str) -> Answer:
    bodies = {
        "/orders": order_body((order.sku, 1)),
        "/orders/{order_id}/returns": {"lines": [{"sku": order.sku, "quantity": 1}], "reason": "too small"},
        "/reviews/{order_id}/decision": {"decision": "approve"},
    }
    raw = json.dumps(bodies.get(path, {})).encode() if method == "POST" else None
    headers = {"Idempotency_Key": str(uuid4())}
    if caller != "anonymous":
        subject = {"owner": order.owner, "expired": order.owner}.get(caller, f"{caller}-{uuid4().hex[:8]}")
        token = stack.expired_token(subject) if caller == "expired" else stack.sign_in(subject, *GROUPS.get(caller, ())).token
        headers["Authorization"] = f"Bearer {token}"
    return stack.shop.call(method, path.format(order_id=order.order_id, number="CN-2026-000001", sku=order.sku), None, body=raw, **headers)


def _cases() -> list[Any]:
    expired = [pytest.mark.needs("local issuer")]
    return [pytest.param(*row, marks=expired if row[2] == "expired" else ()) for row in _rows()]


@pytest.mark.parametrize(("method", "path", "caller", "status"), _cases())
def test_every_route_checks_the_caller(stack: DeployedStack, order: Order, method: str, path: str, caller: str, status: int):
    if (path, caller) == ("/orders/{order_id}/cancellation", "owner"):
        # Cancel another order: the other rows need one that is not cancelled.
        order = order._replace(order_id=stack.buy(order.owner, order.sku))

    answer = _call(stack, order, method, path, caller)

    assert answer.status == status, answer
    if caller != "owner":
        assert order.order_id not in answer.body.decode()


def test_access_table_covers_every_route(stack: DeployedStack):
    document = stack.shop.call("GET", "/openapi.json", None).json()
    routes = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item if method in {"get", "post", "put", "delete"}
    }
    assert routes == {(method, path) for method, path, _, _ in _rows()}


def test_other_callers_cannot_change_an_order(stack: DeployedStack, order: Order):
    before = order_types(stack.shop.events(order.owner, order.order_id))
    for method, path, caller, _ in _rows():
        if caller not in ("owner", "expired"):
            _call(stack, order, method, path, caller)
    after = order_types(stack.shop.events(order.owner, order.order_id))
    assert after[: len(before)] == before
    assert "CancellationRequested" not in after
