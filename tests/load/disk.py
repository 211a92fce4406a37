"""Tables on disk, so that what a process holds in memory is its own and not what it has stored."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any


class OnDisk(MutableMapping[Any, Any]):
    """A mapping in a file, which goes with its folder: values come back as copies."""

    def __init__(self, path: Path) -> None:
        """Begin empty, in a file that is not there yet."""
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # Nobody opens it again.
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE items (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def __getitem__(self, key: Any) -> Any:
        """Return a value."""
        found = self._database.execute("SELECT value FROM items WHERE key = ?", (pickle.dumps(key),)).fetchone()
        if found is None:
            raise KeyError(key)
        return pickle.loads(found[0])  # noqa: S301 - what this process wrote itself

    def __setitem__(self, key: Any, value: Any) -> None:
        """Keep a value."""
        self._database.execute("INSERT OR REPLACE INTO items VALUES (?, ?)", (pickle.dumps(key), pickle.dumps(value)))

    def __delitem__(self, key: Any) -> None:
        """Forget a value."""
        if not self._database.execute("DELETE FROM items WHERE key = ?", (pickle.dumps(key),)).rowcount:
            raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        """Yield the keys."""
        for [key] in self._database.execute("SELECT key FROM items"):
            yield pickle.loads(key)  # noqa: S301

    def __len__(self) -> int:
        """Return how many there are."""
        return self._database.execute("SELECT count(*) FROM items").fetchone()[0]

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
