"""The products for sale, as the API lists them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from devtools.products import PRODUCTS
from orders.catalogue import Catalogue
from orders.handlers import list_products
from tests.fakes.aws.environment import Aws
from tests.support import samples
from tests.unit.orders.conftest import product

type Get = Callable[..., dict[str, Any]]


@pytest.fixture
def get(shop: Aws, context: Any, monkeypatch: pytest.MonkeyPatch) -> Get:
    """Return a function that requests a page, or the product `sku`, and decodes the answer's body."""
    monkeypatch.setattr(list_products, "CATALOGUE", Catalogue("Catalogue", shop.dynamodb.client, 60))

    def request(sku: str | None = None, **query: str) -> dict[str, Any]:
        event = samples.sample("orders/list_products/first-page")
        event["queryStringParameters"] = query or None
        event["pathParameters"] = {"sku": sku} if sku else None
        answer = list_products.handler(event, context)
        return {**answer, "body": json.loads(answer["body"] or "null")}

    return request


def restock(shop: Aws, sku: str, **row: int) -> None:
    shop.dynamodb.seed("Stock", {"sku": {"S": sku}, **{name: {"N": str(value)} for name, value in row.items()}})


def availability(answer: dict[str, Any]) -> str:
    return answer["body"]["availability"]


def test_product_has_its_name_price_and_availability(get: Get, shop: Aws) -> None:
    restock(shop, "MUG-BLUE", available=6, reserved=1)
    assert get("MUG-BLUE")["body"] == {
        "sku": "MUG-BLUE",
        "name": "Blue mug",
        "unit_price": {"amount": 1250, "currency": "EUR"},
        "availability": "in_stock",
    }


@pytest.mark.parametrize(("units", "expected"), [(6, "in_stock"), (5, "low_stock"), (1, "low_stock"), (0, "out_of_stock")])
def test_availability_is_a_hint_of_the_available_units(get: Get, shop: Aws, units: int, expected: str) -> None:
    restock(shop, "MUG-BLUE", available=units, reserved=9)
    assert availability(get("MUG-BLUE")) == expected


def test_availability_of_a_hot_product_sums_its_shards(get: Get, shop: Aws) -> None:
    restock(shop, "MUG-BLUE", available=0, reserved=0, shelves=16)
    restock(shop, "MUG-BLUE#15", available=7, reserved=0)
    assert availability(get("MUG-BLUE")) == "in_stock"


def test_product_without_a_stock_row_is_out_of_stock(get: Get, shop: Aws) -> None:
    shop.dynamodb.client.delete_item(TableName="Stock", Key={"sku": {"S": "MUG-BLUE"}})
    assert availability(get("MUG-BLUE")) == "out_of_stock"


@pytest.mark.parametrize("sku", ["MUG-GREEN", "RETIRED-RADIO", "../MUG", "x" * 65, "MUG-BLUE#1"])
def test_product_that_is_not_for_sale_is_not_found(get: Get, sku: str) -> None:
    answer = get(sku)
    assert (answer["statusCode"], answer["body"]["type"]) == (404, "urn:order-pipeline:problem:product-not-found")


def test_pages_have_every_active_product_once(get: Get) -> None:
    found: list[str] = []
    query = {"limit": "7"}
    while True:
        page = get(**query)["body"]
        assert len(page["products"]) <= 7
        found += (product["sku"] for product in page["products"])
        if "next" not in page:
            break
        query["cursor"] = page["next"]
    assert len(found) == len(set(found))
    assert {product.sku for product in PRODUCTS if product.active} <= set(found)
    assert "RETIRED-RADIO" not in found


def test_page_takes_three_reads_at_most(get: Get, shop: Aws) -> None:
    restock(shop, "MUG-BLUE", available=0, shelves=16)
    shop.dynamodb.calls.clear()
    get(limit="50")
    assert shop.dynamodb.calls["Scan"] == 1
    assert shop.dynamodb.calls["BatchGetItem"] <= 2


def catalogue(aws: Aws, active: Iterable[bool]) -> list[str]:
    """Replace the catalogue by products in the order in which they are read, and return the SKUs of those for sale."""
    for row in aws.dynamodb.items("Catalogue"):
        aws.dynamodb.client.delete_item(TableName="Catalogue", Key={"sku": row["sku"]})
    rows = {f"SKU-{number:04}": sold for number, sold in enumerate(active)}
    template = product("MUG-BLUE")
    aws.dynamodb.seed("Catalogue", *({**template, "sku": {"S": sku}, "active": {"BOOL": sold}} for sku, sold in rows.items()))
    return [sku for sku, sold in rows.items() if sold]


@given(runs=st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=8), limit=st.integers(1, 50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@example(runs=[(False, 400)], limit=1)
@example(runs=[(True, 20), (False, 300), (True, 1), (False, 60)], limit=20)
@example(runs=[(False, 3), (True, 100), (False, 90), (True, 3)], limit=50)
def test_pages_skip_and_repeat_no_product_and_name_no_other(get: Get, aws: Aws, runs: list[tuple[bool, int]], limit: int) -> None:
    for_sale = catalogue(aws, (sold for sold, length in runs for _ in range(length)))
    found: list[str] = []
    query = {"limit": str(limit)}
    for _ in range(len(for_sale) + 2):
        page = get(**query)["body"]
        assert len(page["products"]) <= limit
        found += (one["sku"] for one in page["products"])
        if "next" not in page:
            break
        assert page["next"] == page["products"][-1]["sku"]
        query["cursor"] = page["next"]
    assert found == for_sale


@pytest.mark.parametrize(
    ("inactive", "limit", "scans"), [(0, 20, 1), (19, 20, 1), (20, 20, 2), (99, 20, 2), (400, 20, 3), (400, 1, 6), (5000, 50, 7)]
)
def test_run_of_inactive_products_takes_few_reads(get: Get, aws: Aws, inactive: int, limit: int, scans: int) -> None:
    [sku] = catalogue(aws, (*(False for _ in range(inactive)), True))
    aws.dynamodb.calls.clear()
    assert [one["sku"] for one in get(limit=str(limit))["body"]["products"]] == [sku]
    assert (aws.dynamodb.calls["Scan"], aws.dynamodb.calls["BatchGetItem"]) == (scans, 1)


def test_catalogue_without_products_for_sale_has_an_empty_page(get: Get, aws: Aws) -> None:
    catalogue(aws, (False for _ in range(30)))
    aws.dynamodb.calls.clear()
    assert get(limit="20")["body"] == {"products": []}
    assert (aws.dynamodb.calls["Scan"], aws.dynamodb.calls["BatchGetItem"]) == (2, 0)


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "51"}, {"limit": "x"}, {"cursor": ""}, {"cursor": "a b"}, {"cursor": "#1"}])
def test_invalid_parameter_is_refused(get: Get, query: dict[str, str]) -> None:
    answer = get(**query)
    assert (answer["statusCode"], answer["body"]["type"]) == (400, "urn:order-pipeline:problem:parameter-invalid")


@pytest.mark.parametrize("name", samples.names("orders/list_products"))
def test_samples_have_their_answers(name: str, shop: Aws, context: Any) -> None:
    assert samples.agrees(list_products.handler(samples.sample(name), context), samples.expected(name))
