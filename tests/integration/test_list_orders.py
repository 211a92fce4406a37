"""A customer's order list is current, holds only own orders, and can be rebuilt during new orders."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

from devtools.ops import erase, rebuild_view
from tests.integration.deployed_stack import DeployedStack, eventually

# Seconds until a message whose first delivery failed, such as in a burst of cold starts, is redelivered.
REDELIVERY_SECONDS = 240.0


def _page(stack: DeployedStack, customer: str, **query: str) -> dict[str, Any]:
    answer = stack.shop.call("GET", f"/orders?{urlencode(query)}", customer)
    assert answer.status == 200, answer
    return answer.json()


def _listed(stack: DeployedStack, customer: str) -> dict[str, str]:
    return {order["order_id"]: order["state"] for order in _page(stack, customer)["orders"]}


def _wait_for_list(stack: DeployedStack, customer: str, expected: dict[str, str]) -> None:
    eventually(lambda: _listed(stack, customer), lambda seen: seen == expected, within=REDELIVERY_SECONDS, what="the list is current")


def test_list_has_every_order_newest_first(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product()
    confirmed = stack.buy(customer, sku, 2)
    declined = stack.buy(customer, sku, payment="tok_declined")
    stack.buy(stack.customer("other"), sku)

    _wait_for_list(stack, customer, {declined: "rejected", confirmed: "confirmed"})

    newest, oldest = _page(stack, customer)["orders"]
    assert (newest["order_id"], oldest["order_id"]) == (declined, confirmed)
    assert (oldest["items"], oldest["total"]) == (2, {"amount": 2500, "currency": "EUR"})
    assert oldest["updated_at"] > oldest["placed_at"]
    assert [order["order_id"] for order in _page(stack, customer, state="confirmed")["orders"]] == [confirmed]


def test_list_is_paged_by_the_callers_own_cursors(stack: DeployedStack):
    customer, other, sku = stack.customer(), stack.customer("other"), stack.product()
    bought = [stack.buy(customer, sku) for _ in range(3)]
    eventually(lambda: len(_listed(stack, customer)), lambda count: count == 3, within=REDELIVERY_SECONDS, what="three orders are listed")

    first = _page(stack, customer, limit="2")
    second = _page(stack, customer, limit="2", cursor=first["next"])

    assert [order["order_id"] for page in (first, second) for order in page["orders"]] == bought[::-1]
    assert "next" not in second
    for caller, cursor in ((other, first["next"]), (customer, first["next"][:-1] + "!"), (customer, "x")):
        answer = stack.shop.call("GET", f"/orders?{urlencode({'cursor': cursor})}", caller)
        assert (answer.status, answer.json()["type"]) == (400, "urn:order-pipeline:problem:cursor-invalid")


def test_erased_customer_has_an_empty_list_and_the_log_keeps_the_order(stack: DeployedStack):
    customer, other, sku = stack.customer(), stack.customer("other"), stack.product()
    declined, kept = stack.buy(customer, sku, payment="tok_declined"), stack.buy(other, sku, payment="tok_declined")
    for one, order_id in ((customer, declined), (other, kept)):
        _wait_for_list(stack, one, {order_id: "rejected"})

    found = erase.erase(stack.target, customer, confirmed=True)

    assert (found.rows["OrderView"], [order["order_id"] for order in found.orders]) == (1, [declined])
    assert (_listed(stack, customer), _listed(stack, other)) == ({}, {kept: "rejected"})
    assert sum(erase.erase(stack.target, customer, confirmed=True).rows.values()) == 0
    assert stack.log(declined)[0].type == "OrderPlaced"


def test_rebuild_corrects_the_list_during_new_orders(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product()
    before = stack.buy(customer, sku)
    _wait_for_list(stack, customer, {before: "confirmed"})
    stack.dynamodb.update_item(
        TableName=stack.table("OrderView"),
        Key=_key(stack, before),
        UpdateExpression="SET #state = :wrong, #version = :high",
        ExpressionAttributeNames={"#state": "state", "#version": "version"},
        ExpressionAttributeValues={":wrong": {"S": "returned"}, ":high": {"N": "99"}},
    )

    with ThreadPoolExecutor(2) as pool:
        rebuilding = pool.submit(rebuild_view.rebuild, stack.target)
        during = [stack.buy(customer, sku) for _ in range(3)]
        dropped, listed = rebuilding.result()

    assert min(dropped, listed) >= 1
    _wait_for_list(stack, customer, dict.fromkeys([before, *during], "confirmed"))


def _key(stack: DeployedStack, order_id: str) -> dict[str, Any]:
    (item,) = [item for item in stack.scan("OrderView") if item["order_id"]["S"] == order_id]
    return {name: item[name] for name in ("customer_id", "place")}
