"""Tables on disk, so that the memory of a process does not include them."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.fakes.aws.dynamodb import Ordered

# The sort key of a table that has none.
_NONE = ""


class OnDisk(Ordered):
    """A mapping in a file, keyed by one or two parts of bytes or integers; it returns copies of values."""

    def __init__(self, path: Path) -> None:
        """Create an empty table in a new file."""
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # The file is never opened again, so it needs no journal.
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE items (partition BLOB, sort BLOB, value BLOB, PRIMARY KEY (partition, sort)) WITHOUT ROWID")

    def __getitem__(self, key: Any) -> Any:
        found = self._database.execute("SELECT value FROM items WHERE partition = ? AND sort = ?", _columns(key)).fetchone()
        if found is None:
            raise KeyError(key)
        return _value(found)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._database.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", (*_columns(key), pickle.dumps(value)))

    def __delitem__(self, key: Any) -> None:
        if not self._database.execute("DELETE FROM items WHERE partition = ? AND sort = ?", _columns(key)).rowcount:
            raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        for parts in self._database.execute("SELECT partition, sort FROM items"):
            yield tuple(Decimal(part) if isinstance(part, int) else part for part in parts if part != _NONE)

    def __len__(self) -> int:
        return self._database.execute("SELECT count(*) FROM items").fetchone()[0]

    def between(self, partition: Any, low: Any, high: Any, most: int | None, *, backwards: bool) -> list[Any]:
        """Return up to `most` values between two sort keys, ascending; the last ones if `backwards`."""
        bounds = [(sign, _column(bound)) for sign, bound in ((">=", low), ("<=", high)) if bound is not None]
        conditions = "".join(f" AND sort {sign} ?" for sign, _ in bounds)
        order = "DESC" if backwards else "ASC"
        rows = self._database.execute(
            f"SELECT value FROM items WHERE partition = ?{conditions} ORDER BY sort {order} LIMIT ?",  # noqa: S608 - values are parameters
            (_column(partition), *(bound for _, bound in bounds), -1 if most is None else most),
        )
        found = list(map(_value, rows))
        return found[::-1] if backwards else found

    def following(self, key: Any, most: int) -> list[Any]:
        """Return up to `most` values after a key, ascending; without a key, from the first."""
        after = "WHERE (partition, sort) > (?, ?) " if key else ""
        rows = self._database.execute(
            f"SELECT value FROM items {after}ORDER BY partition, sort LIMIT ?",  # noqa: S608 - values are parameters
            (*(_columns(key) if key else ()), most),
        )
        return list(map(_value, rows))

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _columns(key: Any) -> tuple[Any, Any]:
    return _column(key[0]), _column(key[1]) if len(key) > 1 else _NONE


def _column(part: Any) -> Any:
    return int(part) if isinstance(part, Decimal) else part


def _value(row: Any) -> Any:
    return pickle.loads(row[0])  # noqa: S301 - this process wrote it
