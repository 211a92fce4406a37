"""The event bus: entries and their publication."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

    from orderflow.domain.events import Event

MAX_ENTRIES = 10
MAX_BYTES = 256 * 1024  # of one PutEvents call, all its entries together
_ENVELOPE_BYTES = 256  # of an entry beside its detail: source, detail type, bus


class TooLarge(ValueError):
    """The event exceeds the size limit of the bus."""


class NotPublished(RuntimeError):
    """Bus or stream refused some events; publish them again."""


class EventBus:
    """The bus named `name`."""

    def __init__(self, name: str, client: EventBridgeClient) -> None:
        """Publish with this client."""
        self._name = name
        self._client = client

    def entry(self, event: Event, document: str) -> PutEventsRequestEntryTypeDef:
        """Return the bus entry of an event; its JSON document becomes the detail unchanged.

        Raises:
            TooLarge: the event can never be published.
        """
        entry = self.entry_of(event.source, event.type, event.appended_at, document)
        if event.trace:
            # EventBridge hands it to the targets, and Step Functions continues the trace.
            entry["TraceHeader"] = event.trace
        if _weight(entry) > MAX_BYTES:
            raise TooLarge(event.event_id)
        return entry

    def entry_of(self, source: str, kind: str, moment: datetime, document: str) -> PutEventsRequestEntryTypeDef:
        """Return the entry of an event of this type and time (UTC)."""
        return {"EventBusName": self._name, "Source": source, "DetailType": kind, "Detail": document, "Time": moment}

    def put(self, entries: Sequence[PutEventsRequestEntryTypeDef]) -> None:
        """Put any number of entries on the bus, in their order.

        Raises:
            NotPublished: the bus refused some of them; those before are published, those after may be.
        """
        for batch in chunked(entries, _weight, most=MAX_ENTRIES, most_bytes=MAX_BYTES):
            answer = self._client.put_events(Entries=batch)
            if answer["FailedEntryCount"]:
                codes = sorted({code for entry in answer["Entries"] if (code := entry.get("ErrorCode"))})
                message = f"{answer['FailedEntryCount']} of {len(batch)} events were refused: {', '.join(codes)}"
                raise NotPublished(message)


def chunked[A](entries: Sequence[A], weigh: Callable[[A], int], *, most: int, most_bytes: int) -> Iterable[list[A]]:
    """Yield entries in their order, in chunks of at most `most` entries and `most_bytes` bytes; `weigh` returns the bytes of an entry."""
    batch: list[A] = []
    size = 0
    for entry in entries:
        weight = weigh(entry)
        if batch and (len(batch) == most or size + weight > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += weight
    if batch:
        yield batch


def _weight(entry: PutEventsRequestEntryTypeDef) -> int:
    return len(entry.get("Detail", "").encode()) + _ENVELOPE_BYTES
