"""The event bus, as whoever publishes what is on the order log sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow import events

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

MAX_ENTRIES = 10
MAX_BYTES = 256 * 1024  # of one PutEvents call, all its entries together
_ENVELOPE_BYTES = 256  # of an entry beside its detail: source, detail type, bus


class TooLarge(ValueError):
    """The event is larger than the bus takes."""


class NotPublished(RuntimeError):
    """The bus did not take every event; they have to come again."""


class Bus:
    """The bus named `name`."""

    def __init__(self, name: str, client: EventBridgeClient) -> None:
        """Publish with this client."""
        self._name = name
        self._client = client

    def entry(self, document: str) -> PutEventsRequestEntryTypeDef:
        """Return what the bus is given for an event's JSON document, which becomes its detail as it is.

        Raises:
            msgspec.DecodeError, UnknownEvent, TooLarge: it can never be published.
        """
        event = events.decode(document)
        entry: PutEventsRequestEntryTypeDef = {
            "EventBusName": self._name,
            "Source": event.source,
            "DetailType": event.type,
            "Detail": document,
            "Time": event.occurred_at,
        }
        if _weight(entry) > MAX_BYTES:
            raise TooLarge(event.event_id)
        return entry

    def put(self, entries: Sequence[PutEventsRequestEntryTypeDef]) -> None:
        """Put any number of entries on the bus, in their order.

        Raises:
            NotPublished: the bus refused some of them; those before are published, those after may be.
        """
        for batch in _batches(entries):
            answer = self._client.put_events(Entries=batch)
            if answer["FailedEntryCount"]:
                codes = sorted({code for entry in answer["Entries"] if (code := entry.get("ErrorCode"))})
                message = f"{answer['FailedEntryCount']} of {len(batch)} events were not taken: {', '.join(codes)}"
                raise NotPublished(message)


def _batches(entries: Sequence[PutEventsRequestEntryTypeDef]) -> Iterable[list[PutEventsRequestEntryTypeDef]]:
    """Cut entries into calls of at most 10 entries and 256 KB, keeping their order."""
    batch: list[PutEventsRequestEntryTypeDef] = []
    size = 0
    for entry in entries:
        weight = _weight(entry)
        if batch and (len(batch) == MAX_ENTRIES or size + weight > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += weight
    if batch:
        yield batch


def _weight(entry: PutEventsRequestEntryTypeDef) -> int:
    return len(entry.get("Detail", "").encode()) + _ENVELOPE_BYTES
