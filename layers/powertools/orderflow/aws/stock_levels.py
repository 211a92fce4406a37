"""Reads how many units of products are available, over all rows of the table Stock.

| key `sku` | |
|---|---|
| `MUG-BLUE` | a product's first row, and its only one unless it is sharded; the attribute `shelves` counts the rows |
| `MUG-BLUE#1` to `MUG-BLUE#15` | its further rows |
"""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING, Any

from orderflow.aws import dynamodb
from orderflow.aws.dynamodb import key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

_SEPARATOR = "#"
_MAX_KEYS = 100


def shard_name(sku: str, shard: int) -> str:
    """Return the key of a product's row by its number, from 0."""
    return f"{sku}{_SEPARATOR}{shard}" if shard else sku


def sku_of(name: str) -> str:
    """Return the product of a row."""
    return name.partition(_SEPARATOR)[0]


def available(client: DynamoDBClient, table: str, skus: Iterable[str]) -> dict[str, int]:
    """Return the units of each product that can be reserved, by an eventually consistent read; a product without a row has none.

    Raises:
        TransactionConflict: DynamoDB left rows unread in every attempt.
    """
    units = dict.fromkeys(skus, 0)
    further: list[str] = []
    for item in _rows(client, table, units):
        units[item["sku"]] = item.get("available", 0)
        further += (shard_name(item["sku"], number) for number in range(1, item.get("shelves", 1)))
    for item in _rows(client, table, further):
        units[sku_of(item["sku"])] += item.get("available", 0)
    return units


def _rows(client: DynamoDBClient, table: str, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    for some in batched(names, _MAX_KEYS, strict=False):
        yield from dynamodb.read_batch(client, table, [key(sku=name) for name in some], consistent=False)
