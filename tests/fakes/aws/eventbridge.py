"""EventBridge in memory: an event bus that records its entries."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.aws.service import FakeService

BUS_ENTRIES = 10
BUS_BYTES = 256 * 1024


class FakeEventBridge(FakeService):
    """An event bus. Entries whose number (from 0, in the order of arrival) is in `refuse` are refused once."""

    def __init__(self, attempts: int = 1) -> None:
        """Start with nothing published."""
        super().__init__(attempts)
        self.entries: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.refuse: set[int] = set()
        self.arrived = 0

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - botocore's name
        """Record 1 to 10 entries of at most 256 KB in total; the answer marks refused entries."""
        return self._call("PutEvents", {"Entries": Entries}, lambda: self._put(Entries))

    @property
    def details(self) -> list[dict[str, Any]]:
        """The published envelopes, oldest first."""
        return [json.loads(entry["Detail"]) for entry in self.entries]

    def _put(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        assert 1 <= len(entries) <= BUS_ENTRIES, "PutEvents takes 1 to 10 entries"
        assert sum(map(_weight, entries)) <= BUS_BYTES, "PutEvents takes 256 KB at most"
        self.batches.append(len(entries))
        answers = [self._take(entry) for entry in entries]
        return {"FailedEntryCount": sum("ErrorCode" in answer for answer in answers), "Entries": answers}

    def _take(self, entry: dict[str, Any]) -> dict[str, str]:
        number, self.arrived = self.arrived, self.arrived + 1
        if number in self.refuse:
            return {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}
        self.entries.append(entry)
        return {"EventId": f"event-{number}"}


def _weight(entry: dict[str, Any]) -> int:
    texts = (entry["Detail"], entry["DetailType"], entry["Source"])
    return sum(len(text.encode()) for text in texts) + (14 if "Time" in entry else 0)
