"""What DynamoDB bills for a call: write and read units, from the call itself and the size of the items it touches."""

import math
from typing import Any

from devtools.bench.proxy import Call

type Item = dict[str, Any]
type Key = tuple[str, ...]

KB = 1024
_KEYS = ("order_id", "version", "sku", "customer_id", "placed", "key", "id")


class Meter:
    """Adds up units. It remembers what was put, because an update is billed for the whole item that it changes."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._sizes: dict[Key, int] = {}

    def units(self, call: Call) -> tuple[float, float]:
        """Return the write units and the read units of a call."""
        parameters = call.parameters
        match call.operation:
            case "PutItem" | "UpdateItem" | "DeleteItem":
                return float(self._write(parameters)), 0.0
            case "TransactWriteItems":
                # Each item is written twice, prepared and committed; indexes are written once.
                writes = [write for item in parameters["TransactItems"] for write in item.values()]
                return float(sum(2 * self._write(write) - self._index(write) for write in writes)), 0.0
            case "Query" | "GetItem":
                return 0.0, _read(_items(call), consistent=bool(parameters.get("ConsistentRead")))
            case "BatchGetItem":
                return 0.0, sum(_read([item], consistent=False) for item in _items(call))
            case _:
                return 0.0, 0.0

    def _write(self, write: dict[str, Any]) -> int:
        item: Item = write.get("Item") or write.get("Key") or {}
        key = (write["TableName"], *(str(item[name]) for name in _KEYS if name in item))
        size = max(size_of(write["Item"]), self._sizes.get(key, 0)) if "Item" in write else self._sizes.get(key, KB)
        self._sizes[key] = size
        return max(1, math.ceil(size / KB)) + self._index(write)

    def _index(self, write: dict[str, Any]) -> int:
        """Return 1 where the write puts the order on the index of open orders or takes it off."""
        return int("open_shard" in write.get("Item", {}) or "open_shard" in write.get("UpdateExpression", ""))


def size_of(item: Item) -> int:
    """Return the bytes of an item: names and values."""
    return sum(len(name.encode()) + _value(value) for name, value in item.items())


def _value(value: dict[str, Any]) -> int:
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return len(content.encode())
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
    # A projection is billed for the whole item: what it left out is keys and a type, about 100 bytes.
    blocks = max(1, math.ceil(sum(size_of(item) + 100 for item in items) / (4 * KB)))
    return blocks * (1.0 if consistent else 0.5)
