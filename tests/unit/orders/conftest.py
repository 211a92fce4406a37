"""A small shop: a catalogue, a customer, and the functions of the order API as they are when warm."""

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
    **{f"SKU-{number:03}": (f"Thing {number}", 100 + number, "EUR", True) for number in range(120)},
}
BODY: dict[str, Any] = {
    "lines": [{"sku": "MUG-BLUE", "quantity": 2}, {"sku": "FILTER-100", "quantity": 1}],
    "shipping_address": {"name": "Ann Lee", "street": "1 High St", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB"},
    "payment": {"token": "tok_approved", "country": "GB"},
}


def product(sku: str) -> dict[str, Any]:
    """Return a product's row of the catalogue."""
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
    """AWS with a catalogue, of which the function remembers nothing yet."""
    aws.dynamodb.seed("Catalogue", *map(product, PRODUCTS))
    monkeypatch.setattr(place_order, "CATALOGUE", Catalogue("Catalogue", aws.dynamodb.client, 60))
    return aws


def request(body: Any = None, *, key: str | None = "key-1", customer: str = "ann", expires_in: float = 3600) -> Any:
    """Return `POST /orders` as API Gateway hands it on; `body` is encoded unless it is a string."""
    event = samples.sample("orders/place_order/accepted")
    event["headers"].pop("Idempotency-Key")
    if key is not None:
        event["headers"]["Idempotency-Key"] = key
    event["body"] = body if isinstance(body, str) else json.dumps(BODY if body is None else body)
    authorizer = {"customer_id": customer, "email": f"{customer}@example.com", "expires_at": str(int(time.time() + expires_in))}
    event["requestContext"]["authorizer"] |= authorizer
    return event


def changed(**changes: Any) -> dict[str, Any]:
    """Return a body that differs from a good one in these members."""
    return {**BODY, **changes}


type Post = Callable[..., Mapping[str, Any]]


@pytest.fixture
def post(shop: Aws, context: Any) -> Post:
    """Place an order and return the answer with its body decoded."""

    def send(body: Any = None, **how: Any) -> Mapping[str, Any]:
        return opened(place_order.handler(request(body, **how), context))

    return send


def opened(response: Any) -> dict[str, Any]:
    """Return an answer with its body decoded."""
    return {**response, "body": json.loads(response["body"])}


def order_id(key: str = "key-1", customer: str = "ann") -> str:
    """Return the id of the order that a customer places with a key."""
    return pricing.order_id(customer, key)
