"""What a page of another origin and a polling client need of the API."""

from __future__ import annotations

import pytest

from devtools.local.api_client import order_body
from tests.integration.deployed_stack import DeployedStack

ORIGIN = "https://shop.example.com"


def test_preflight_allows_what_the_api_takes(stack: DeployedStack):
    answer = stack.shop.call(
        "OPTIONS",
        "/orders",
        None,
        Origin=ORIGIN,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization,content-type,idempotency-key",
    )

    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert allowed >= {"authorization", "content-type", "idempotency-key", "if-none-match", "x-correlation-id"}


def test_page_can_read_answers_and_errors(stack: DeployedStack):
    placed = stack.shop.call("GET", "/orders", stack.customer(), Origin=ORIGIN)
    unknown = stack.shop.call("GET", "/products/NOPE", None, Origin=ORIGIN)
    refused = stack.shop.call("GET", "/orders", None, Origin=ORIGIN)

    assert (placed.status, unknown.status, refused.status) == (200, 404, 401)
    for answer in (placed, unknown, refused):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "X-Correlation-Id" in answer.headers["access-control-expose-headers"]


@pytest.mark.needs("mapped-headers")
def test_gateway_error_has_the_correlation_id(stack: DeployedStack):
    refused = stack.shop.call("GET", "/orders", None, X_Correlation_Id="page-1")

    assert (refused.status, refused.headers["x-correlation-id"]) == (401, "page-1")


def test_polling_an_unchanged_order_gets_304(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product()
    order_id = stack.buy(customer, sku)
    first = stack.shop.call("GET", f"/orders/{order_id}", customer)

    again = stack.shop.call("GET", f"/orders/{order_id}", customer, If_None_Match=first.headers["etag"])

    assert (first.status, again.status, again.body) in {(200, 304, b""), (200, 200, again.body)}
    assert again.status == 304 or again.json() != first.json()


def test_changed_price_of_a_product_is_refused_with_the_new_one(stack: DeployedStack):
    customer, sku = stack.customer(), stack.product()
    product = stack.shop.call("GET", f"/products/{sku}", None).json()
    price = product["unit_price"]
    wrong = order_body((sku, 2)) | {"expected_total": {"amount": price["amount"] * 2 - 1, "currency": price["currency"]}}
    right = order_body((sku, 2)) | {"expected_total": {"amount": price["amount"] * 2, "currency": price["currency"]}}

    refused, placed = stack.shop.place(customer, wrong), stack.shop.place(customer, right)

    assert product["availability"] == "in_stock"
    assert (refused.status, refused.json()["total"]["amount"]) == (409, price["amount"] * 2)
    assert placed.status == 201
