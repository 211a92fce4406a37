"""Counting clients of the in-memory AWS, and the tables' schemas for the meter of `make bench`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devtools.billing.calls import Call
from devtools.billing.units import Index, Schema


class Metered:
    """A client whose calls are counted."""

    def __init__(self, client: Any, service: str, called: Callable[[Call], None]) -> None:
        self._client = client
        self._service = service
        self._called = called

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name == "exceptions":
            return found
        operation = "".join(map(str.title, name.split("_")))

        def call(**given: Any) -> Any:
            answer: dict[str, Any] = {}
            try:
                answer = found(**given)
            finally:
                self._called(Call(self._service, operation, given, answer))
            return answer

        return call


def schema_of(table: Any) -> Schema:
    """Return the keys of a table and its indexes."""
    return Schema(tuple(table.key), tuple(Index(tuple(one.key), one.projection == "ALL") for one in table.indexes.values()))
