"""Stores the items of all tables, and records their changes as stream records."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tests.fakes.aws.dynamodb.errors import Failure
from tests.fakes.aws.dynamodb.expressions.syntax import Item
from tests.fakes.aws.dynamodb.keys import Key
from tests.fakes.aws.dynamodb.tables import Table


class Ordered(MutableMapping[Key, Item]):
    """A mapping of items that finds those of a partition in sort key order without a scan."""

    @abstractmethod
    def between(self, partition: Any, low: Any, high: Any, most: int | None, *, backwards: bool) -> list[Item]:
        """Return at most `most` items between two sort keys, in order; the last ones if `backwards`."""

    @abstractmethod
    def following(self, key: Key | None, most: int) -> list[Item]:
        """Return at most `most` items after a key, in key order; from the first one without a key."""


@dataclass(frozen=True)
class Write:
    """A planned change of one item: `new` replaces `old`; None means no item."""

    table: Table
    key: Key
    new: Item | None
    old: Item | None
    size: int = 0


class Storage:
    """The items of a set of tables, each in a mapping created by `mapping`."""

    def __init__(self, tables: Sequence[Table], mapping: Callable[[], MutableMapping[Key, Item]], *, keeps_changes: bool) -> None:
        """Start with empty tables."""
        self.tables = {table.name: table for table in tables}
        self.items: dict[str, MutableMapping[Key, Item]] = {name: mapping() for name in self.tables}
        self.changes: dict[str, list[dict[str, Any]]] = {name: [] for name in self.tables}
        # The largest item so far of each table: a page of few small items needs no exact size.
        self.largest = dict.fromkeys(self.tables, 0)
        self._keeps_changes = keeps_changes

    def table(self, name: str) -> Table:
        """Return a table's definition. Raises Failure for an unknown one."""
        if name not in self.tables:
            raise Failure("ResourceNotFoundException", "Requested resource not found")
        return self.tables[name]

    def find(self, table: Table, key: Key) -> Item | None:
        """Return the stored item itself, not a copy."""
        return self.items[table.name].get(key)

    def commit(self, writes: Sequence[Write]) -> None:
        """Apply planned changes, and record them as stream records."""
        for write in writes:
            self._store(write)
            if self._keeps_changes and write.new != write.old:
                self.changes[write.table.name].append(_stream_record(write))

    def _store(self, write: Write) -> None:
        name = write.table.name
        if write.new is None:
            self.items[name].pop(write.key, None)
        else:
            self.items[name][write.key] = write.new
            self.largest[name] = max(self.largest[name], write.size)


def _stream_record(write: Write) -> dict[str, Any]:
    """Return the change as a stream record. Stored items are immutable, so they are not copied."""
    item = cast("Item", write.new or write.old)
    images = {"NewImage": write.new, "OldImage": write.old}
    present = {name: image for name, image in images.items() if image is not None}
    kind = "REMOVE" if write.new is None else "INSERT" if write.old is None else "MODIFY"
    keys = {name: item[name] for name in write.table.key}
    return {"eventName": kind, "dynamodb": {"Keys": keys, **present}}
