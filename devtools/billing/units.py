"""The write and read units that DynamoDB bills for a call, computed from the call and the size of its items."""

import base64
import math
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from devtools.billing.calls import Call

type Item = dict[str, Any]
type Key = tuple[str, ...]

KB = 1024


@dataclass(frozen=True)
class Index:
    """An index of a table: the attributes that an indexed item must have, and whether the index contains whole items."""

    keys: tuple[str, ...]
    whole: bool = False


@dataclass(frozen=True)
class Schema:
    """A table's key attributes and its indexes."""

    keys: tuple[str, ...]
    indexes: tuple[Index, ...] = ()


class Meter:
    """Adds up units. It stores the sizes of items, because an update is billed for the whole item."""

    def __init__(self, schemas: Mapping[str, Schema], sizes: MutableMapping[Key, int] | None = None) -> None:
        """Start without sizes, or with `sizes`; `schemas` are those of the tables by name."""
        self._schemas = schemas
        self._sizes: MutableMapping[Key, int] = {} if sizes is None else sizes

    def units(self, call: Call) -> tuple[float, float]:
        """Return the write units and the read units of a call."""
        parameters = call.parameters
        match call.operation:
            case "PutItem" | "UpdateItem" | "DeleteItem":
                table, indexes = self._write(parameters)
                return float(table + indexes), 0.0
            case "TransactWriteItems":
                # Each item is written twice, prepared and committed; indexes are written once.
                writes = [self._write(write) for item in parameters["TransactItems"] for write in item.values()]
                return float(sum(2 * table + indexes for table, indexes in writes)), 0.0
            case "Query" | "GetItem":
                return 0.0, _read(_items(call), consistent=bool(parameters.get("ConsistentRead")))
            case "BatchGetItem":
                return 0.0, sum(_read([item], consistent=False) for item in _items(call))
            case _:
                return 0.0, 0.0

    def _write(self, write: Item) -> tuple[int, int]:
        """Return the units of a write to the table, and to its indexes."""
        schema = self._schemas[write["TableName"]]
        item: Item = write.get("Item") or write.get("Key") or {}
        key = (write["TableName"], *(str(item[name]) for name in schema.keys))
        size = max(size_of(write["Item"]), self._sizes.get(key, 0)) if "Item" in write else self._sizes.get(key, KB)
        self._sizes[key] = size
        units = max(1, math.ceil(size / KB))
        return units, sum(units if index.whole else 1 for index in schema.indexes if _touches(write, index))


def _touches(write: Item, index: Index) -> bool:
    """Return whether a write adds an item to an index, moves it within or removes it."""
    if "Item" in write:
        return all(name in write["Item"] for name in index.keys)
    expression = write.get("UpdateExpression", "")
    return bool(expression) and (index.whole or any(name in expression for name in index.keys))


def size_of(item: Item) -> int:
    """Return the bytes of an item: names and values."""
    return sum(len(name.encode()) + _value(value) for name, value in item.items())


def _value(value: dict[str, Any]) -> int:
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "B":
            # Base64 as sent, bytes as the functions write it.
            return len(base64.b64decode(content)) if isinstance(content, str) else len(content)
        case "N":
            return len(content) // 2 + 2
        case "M":
            return 3 + size_of(content) + len(content)
        case "L":
            return 3 + sum(_value(entry) + 1 for entry in content)
        case _:
            return 1


def _items(call: Call) -> list[Item]:
    answer = call.answer
    if "Responses" in answer:
        return [item for items in answer["Responses"].values() for item in items]
    return answer.get("Items") or ([answer["Item"]] if "Item" in answer else [])


def _read(items: list[Item], *, consistent: bool) -> float:
    # A projection is billed for the whole item: it omits keys and a type, about 100 bytes.
    blocks = max(1, math.ceil(sum(size_of(item) + 100 for item in items) / (4 * KB)))
    return blocks * (1.0 if consistent else 0.5)
