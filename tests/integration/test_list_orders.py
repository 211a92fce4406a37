"""A customer's order list is current, holds only own orders, and can be rebuilt during new orders."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

from devtools.ops import rebuild_view
from tests.integration.world import World, eventually

# Seconds until a message whose first delivery failed, such as in a burst of cold starts, is redelivered.
CATCHES_UP = 240.0


def _page(world: World, customer: str, **query: str) -> dict[str, Any]:
    answer = world.shop.call("GET", f"/orders?{urlencode(query)}", customer)
    assert answer.status == 200, answer
    return answer.json()


def _listed(world: World, customer: str) -> dict[str, str]:
    return {order["order_id"]: order["state"] for order in _page(world, customer)["orders"]}


def _followed(world: World, customer: str, expected: dict[str, str]) -> None:
    eventually(lambda: _listed(world, customer), lambda seen: seen == expected, within=CATCHES_UP, what="the list is current")


def test_list_has_every_order_newest_first(world: World):
    customer, sku = world.customer(), world.product()
    confirmed = world.buy(customer, sku, 2)
    declined = world.buy(customer, sku, payment="tok_declined")
    world.buy(world.customer("other"), sku)

    _followed(world, customer, {declined: "rejected", confirmed: "confirmed"})

    newest, oldest = _page(world, customer)["orders"]
    assert (newest["order_id"], oldest["order_id"]) == (declined, confirmed)
    assert (oldest["items"], oldest["total"]) == (2, {"amount": 2500, "currency": "EUR"})
    assert oldest["updated_at"] > oldest["placed_at"]
    assert [order["order_id"] for order in _page(world, customer, state="confirmed")["orders"]] == [confirmed]


def test_list_is_paged_by_the_callers_own_cursors(world: World):
    customer, other, sku = world.customer(), world.customer("other"), world.product()
    bought = [world.buy(customer, sku) for _ in range(3)]
    eventually(lambda: len(_listed(world, customer)), lambda count: count == 3, within=CATCHES_UP, what="three orders are listed")

    first = _page(world, customer, limit="2")
    second = _page(world, customer, limit="2", cursor=first["next"])

    assert [order["order_id"] for page in (first, second) for order in page["orders"]] == bought[::-1]
    assert "next" not in second
    for asking, cursor in ((other, first["next"]), (customer, first["next"][:-1] + "!"), (customer, "x")):
        answer = world.shop.call("GET", f"/orders?{urlencode({'cursor': cursor})}", asking)
        assert (answer.status, answer.json()["type"]) == (400, "urn:order-pipeline:problem:cursor-invalid")


def test_rebuild_corrects_the_list_during_new_orders(world: World):
    customer, sku = world.customer(), world.product()
    before = world.buy(customer, sku)
    _followed(world, customer, {before: "confirmed"})
    world.dynamodb.update_item(
        TableName=world.table("OrderView"),
        Key=_key(world, before),
        UpdateExpression="SET #state = :wrong, #version = :high",
        ExpressionAttributeNames={"#state": "state", "#version": "version"},
        ExpressionAttributeValues={":wrong": {"S": "returned"}, ":high": {"N": "99"}},
    )

    with ThreadPoolExecutor(2) as pool:
        rebuilding = pool.submit(rebuild_view.rebuild, world.target)
        meanwhile = [world.buy(customer, sku) for _ in range(3)]
        dropped, listed = rebuilding.result()

    assert min(dropped, listed) >= 1
    _followed(world, customer, dict.fromkeys([before, *meanwhile], "confirmed"))


def _key(world: World, order_id: str) -> dict[str, Any]:
    (item,) = [item for item in world.scan("OrderView") if item["order_id"]["S"] == order_id]
    return {name: item[name] for name in ("customer_id", "place")}
