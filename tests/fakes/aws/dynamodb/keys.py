"""Keys and sizes of items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.fakes.aws.dynamodb.expressions.syntax import ExpressionError, Item
from tests.fakes.aws.dynamodb.expressions.values import ordering, size
from tests.fakes.aws.dynamodb.tables import Table

type Key = tuple[Any, ...]

ITEM_BYTES = 400 * 1024


def exact_key(table: Table, given: Item) -> Key:
    """Return the key of a request; raise ExpressionError unless it has exactly the key attributes."""
    if set(given) != set(table.key):
        raise ExpressionError("The provided key element does not match the schema")
    return key_of(table.key, given)


def key_of(key: Mapping[str, str], item: Item) -> Key:
    """Return an item's sortable key; raise ExpressionError if a key attribute is missing, empty or of another type."""
    for name, kind in key.items():
        if kind not in item.get(name, {}):
            raise ExpressionError(f"One of the required keys was not given a value, or not of type {kind}: {name}")
        if item[name][kind] in {"", b""}:
            raise ExpressionError(f"The AttributeValue for a key attribute cannot contain an empty string value: {name}")
    return tuple([ordering(item[name]) for name in key])


def checked_size(table: Table, item: Item) -> int:
    """Return an item's bytes; raise ExpressionError for one that the table cannot store."""
    key_of(table.key, item)
    for index in table.indexes.values():
        key_of({name: kind for name, kind in index.key.items() if name in item}, item)
    found = item_size(item)
    if found > ITEM_BYTES:
        raise ExpressionError("Item size has exceeded the maximum allowed size")
    return found


def item_size(item: Item) -> int:
    """Return the approximate bytes of an item."""
    return sum([len(name.encode()) + size(value) for name, value in item.items()])
