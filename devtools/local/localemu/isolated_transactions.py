"""Init script of LocalEmu: a cancelled DynamoDB transaction restores its own items only, and writes wait for one another.

LocalEmu's moto copies whole tables for each transaction. It restores them when the transaction is cancelled, with the items that others
have written since.
"""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable
from typing import Any

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table

_WRITES = threading.RLock()


def one_at_a_time[**P, T](write: Callable[P, T]) -> Callable[P, T]:
    """Let each call wait for the others."""

    @functools.wraps(write)
    def locked(*args: P.args, **kwargs: P.kwargs) -> T:
        with _WRITES:
            return write(*args, **kwargs)

    return locked


def restoring(transact: Callable[[DynamoDBBackend, list[Any]], None]) -> Callable[[DynamoDBBackend, list[Any]], None]:
    """Restore the items of a transaction that fails."""

    @functools.wraps(transact)
    def isolated(backend: DynamoDBBackend, transact_items: list[Any]) -> None:
        requests = [request for one in transact_items for request in one.values() if request["TableName"] in backend.tables]
        before = [_stored(backend.tables[request["TableName"]], request.get("Key") or request["Item"]) for request in requests]
        try:
            transact(backend, transact_items)
        except Exception:
            for restore in before:
                restore()
            raise

    return isolated


def _stored(table: Any, key: dict[str, Any]) -> Callable[[], object]:
    """Return a function that stores the item with this key as it is now."""
    hash_key = DynamoType(key[table.hash_key_attr])
    range_key = DynamoType(key[table.range_key_attr]) if table.range_key_attr else None
    item = copy.deepcopy(table.get_item(hash_key, range_key))
    if item is None:
        return lambda: table.delete_item(hash_key, range_key)
    items, last = (table.items[hash_key], range_key) if range_key else (table.items, hash_key)
    return lambda: items.__setitem__(last, item)


def _itself(table: Table, _memo: dict[int, Any]) -> Table:
    return table


# The copies that moto restores are then the tables themselves.
Table.__deepcopy__ = _itself  # pyright: ignore[reportAttributeAccessIssue]
DynamoDBBackend.transact_write_items = restoring(DynamoDBBackend.transact_write_items)  # pyright: ignore[reportAttributeAccessIssue]
for name in ("put_item", "update_item", "delete_item", "transact_write_items"):
    setattr(DynamoDBBackend, name, one_at_a_time(getattr(DynamoDBBackend, name)))
