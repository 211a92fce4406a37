"""Fixtures for the order API: a catalogue, requests, and a function that places orders."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from devtools import products
from orders.catalogue import Catalogue
from orders.domain import pricing
from orders.handlers import place_order
from tests.support import samples

if TYPE_CHECKING:
    from tests.fakes.aws.environment import Aws

PRODUCTS = {
    **{one.sku: (one.name, one.unit_price, one.currency, one.active) for one in products.PRODUCTS},
    "SAMPLE": ("Sample", 0, "EUR", True),
    "VASE-MGA": ("Vase", 10_050, "MGA", True),
    **{f"SKU-{number:03}": (f"Product {number}", 100 + number, "EUR", True) for number in range(120)},
}
BODY: dict[str, Any] = {
    "lines": [{"sku": "MUG-BLUE", "quantity": 2}, {"sku": "FILTER-100", "quantity": 1}],
    "shipping_address": {"name": "Ann Lee", "street": "1 High St", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB"},
    "payment": {"token": "tok_approved", "country": "GB"},
}


def product(sku: str) -> dict[str, Any]:
    """Return the catalogue item of a product."""
    name, price, currency, active = PRODUCTS[sku]
    return {
        "sku": {"S": sku},
        "name": {"S": name},
        "unit_price": {"N": str(price)},
        "currency": {"S": currency},
        "active": {"BOOL": active},
    }


@pytest.fixture
def shop(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """Return AWS with a catalogue that the function has not cached yet."""
    aws.dynamodb.seed("Catalogue", *map(product, PRODUCTS))
    monkeypatch.setattr(place_order.PLACEMENT, "catalogue", Catalogue("Catalogue", aws.dynamodb.client, 60))
    return aws


def request(body: Any = None, *, key: str | None = "key-1", customer: str = "ann", expires_in: float = 3600) -> Any:
    """Return the event of `POST /orders`; `body` is encoded unless it is a string."""
    event = samples.sample("orders/place_order/accepted")
    event["headers"].pop("Idempotency-Key")
    if key is not None:
        event["headers"]["Idempotency-Key"] = key
    event["body"] = body if isinstance(body, str) else json.dumps(BODY if body is None else body)
    authorizer = {"customer_id": customer, "email": f"{customer}@example.com", "expires_at": str(int(time.time() + expires_in))}
    event["requestContext"]["authorizer"] |= authorizer
    return event


def changed(**changes: Any) -> dict[str, Any]:
    """Return a valid body with these members replaced."""
    return {**BODY, **changes}


type Post = Callable[..., Mapping[str, Any]]
type Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def post(shop: Aws, context: Any) -> Post:
    """Return a function that places an order and returns the answer with its body decoded."""

    def send(body: Any = None, **details: Any) -> Mapping[str, Any]:
        return decoded(place_order.handler(request(body, **details), context))

    return send


def decoded(response: Any) -> dict[str, Any]:
    """Decode an answer's body."""
    return {**response, "body": json.loads(response["body"])}


def order_id(key: str = "key-1", customer: str = "ann") -> str:
    """Return the id of the order that a customer places with a key."""
    return pricing.order_id(customer, key)


def appended(shop: Aws) -> list[Any]:
    """Return the items of the order log."""
    return shop.dynamodb.items("OrderLog")


def line(**members: Any) -> dict[str, Any]:
    """Return a valid body of one line with these members replaced."""
    return changed(lines=[{"sku": "MUG-BLUE", "quantity": 1, **members}])


def address(**members: Any) -> dict[str, Any]:
    """Return a valid body with these members of the address replaced."""
    return changed(shipping_address=BODY["shipping_address"] | members)
