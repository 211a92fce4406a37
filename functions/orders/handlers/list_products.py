"""`GET /products` and `GET /products/{sku}`: returns the products for sale, their prices, and a hint at their availability."""

from __future__ import annotations

import re

from orderflow.aws import paging, settings, stock_levels
from orderflow.aws.clients import client
from orderflow.aws.http import ApiEvent, Problem, Response, answer, api
from orders import presenters
from orders.api_models import ProductAnswer, ProductList
from orders.catalogue import Catalogue

_client = client("dynamodb")
CATALOGUE = Catalogue(settings.required("CATALOGUE_TABLE"), _client, settings.optional_int("CATALOGUE_TTL_SECONDS", 60))
STOCK_TABLE = settings.required("STOCK_TABLE")
_SKU = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@api
def handler(event: ApiEvent) -> Response:
    """Return 200 with a page of products, or with the product that the path names."""
    path = event.get("pathParameters") or {}
    if "sku" in path:
        return answer(200, _product(path["sku"]))
    products, last = CATALOGUE.page(paging.parse_limit(event), _cursor(event))
    units = stock_levels.available(_client, STOCK_TABLE, [product.sku for product in products])
    return answer(200, ProductList(tuple(presenters.product(product, units[product.sku]) for product in products), last))


def _product(sku: str) -> ProductAnswer:
    product = CATALOGUE.products([sku]).get(sku) if _SKU.fullmatch(sku) else None
    if not product or not product.active:
        raise Problem(404, "product-not-found", "Product not found", "product not found: GET /products lists the products for sale")
    return presenters.product(product, stock_levels.available(_client, STOCK_TABLE, [sku])[sku])


def _cursor(event: ApiEvent) -> str | None:
    cursor = (event.get("queryStringParameters") or {}).get("cursor")
    if cursor is not None and not _SKU.fullmatch(cursor):
        raise paging.invalid_parameter("cursor", "the `next` of the page before")
    return cursor
