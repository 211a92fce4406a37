"""The catalogue of products, cached by product."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from msgspec import ValidationError, convert

from orderflow.aws import dynamodb
from orderflow.aws.observability import logger
from orderflow.domain import documents
from orders.domain.pricing import Product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_dynamodb import DynamoDBClient

_MAX_CACHED = 10_000
_MAX_ROWS = 1000  # of one Scan


class Catalogue:
    """Products by SKU, each at most `ttl_seconds` old. A missing product is cached as missing.

    At most `_MAX_CACHED` products are cached; the least recently used ones are evicted.
    """

    def __init__(self, table: str, client: DynamoDBClient, ttl_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Read from the DynamoDB table named `table`."""
        self._table = table
        self._client = client
        self._ttl = ttl_seconds
        self._clock = clock
        self._known = OrderedDict[str, tuple[float, Product | None]]()

    def products(self, skus: Iterable[str]) -> dict[str, Product]:
        """Return the products that exist of at most 100 `skus`.

        Raises:
            TransactionConflict: DynamoDB left some of them unprocessed in every attempt.
        """
        asked = set(skus)
        now = self._clock()
        stale = [sku for sku in asked if self._known.get(sku, (0.0, None))[0] <= now]
        if stale:
            self._read(stale, now + self._ttl)
        found = {sku: product for sku in asked if (product := self._known[sku][1])}
        for sku in asked:
            self._known.move_to_end(sku)
        while len(self._known) > _MAX_CACHED:
            self._known.popitem(last=False)
        return found

    def page(self, limit: int, after: str | None) -> tuple[list[Product], str | None]:
        """Return a page of at most `limit` products that are for sale, in no particular order, and the sku that the next page starts after.

        The sku is that of the page's last product: the last row that was read could be a product that is not announced yet. So a page
        reads on until it has a product or the catalogue ends, four times as many rows with each call. DynamoDB scans in the order of the
        keys' hashes, so long runs of other rows are in catalogues of which little is for sale.
        """
        rows = limit
        while True:
            start: dict[str, Any] = {"ExclusiveStartKey": dynamodb.key(sku=after)} if after else {}
            answer = self._client.scan(TableName=self._table, Limit=rows, **start)
            products = [product for product in map(_product, answer["Items"]) if product and product.active]
            last = answer.get("LastEvaluatedKey")
            if products or not last:
                page = products[:limit]
                return page, page[-1].sku if last or len(products) > limit else None
            after, rows = dynamodb.decode(last["sku"]), min(4 * rows, _MAX_ROWS)

    def _read(self, skus: list[str], good_until: float) -> None:
        keys = [dynamodb.key(sku=sku) for sku in skus]
        items = dynamodb.read_encoded_batch(self._client, self._table, keys, consistent=False)
        found = {product.sku: product for product in map(_product, items) if product}
        self._known |= {sku: (good_until, found.get(sku)) for sku in skus}


def _product(attributes: dict[str, Any]) -> Product | None:
    """Return the product of a row with a normalized name; None, and an error in the log, for a row that no event can contain."""
    try:
        item = dynamodb.decode_item(attributes)
        row = {
            "sku": item["sku"],
            "name": documents.cleaned(item["name"]),
            "unit_price": {"amount": item["unit_price"], "currency": item["currency"]},
            "active": item["active"],
            "category": item.get("category"),
            "temperature_range": item.get("temperature_range"),
        }
        return convert(row, Product)
    except (LookupError, ValueError, ValidationError) as error:
        logger.error("catalogue_row_unusable", sku=dynamodb.decode(attributes["sku"]), error=repr(error))
        return None
