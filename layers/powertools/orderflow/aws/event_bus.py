"""The event bus: entries and their publication."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from orderflow.aws import tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
    from datetime import datetime

    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

    from orderflow.domain.events import Event

MAX_ENTRIES = 10
MAX_BYTES = 256 * 1024  # of one PutEvents call, all its entries together
_ENVELOPE_BYTES = 256  # of an entry beside its detail: source, detail type, bus
# Bus and stream accept so much a second and refuse single entries above it, which botocore does not put again
# (https://docs.aws.amazon.com/streams/latest/dev/developing-producers-with-sdk.html,
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html).
ATTEMPTS = 4


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
        if trace := tracing.header_in(document):
            # EventBridge hands it to the targets, and Step Functions continues the trace.
            entry["TraceHeader"] = trace
        if _weight(entry) > MAX_BYTES:
            raise TooLarge(event.event_id)
        return entry

    def entry_of(self, source: str, kind: str, moment: datetime, document: str) -> PutEventsRequestEntryTypeDef:
        """Return the entry of an event of this type and time (UTC)."""
        return {"EventBusName": self._name, "Source": source, "DetailType": kind, "Detail": document, "Time": moment}

    def put(self, entries: Sequence[PutEventsRequestEntryTypeDef]) -> None:
        """Put any number of entries on the bus, in their order.

        Raises:
            NotPublished: the bus refused some of them in every attempt; those before are published, those after may be.
        """
        for batch in chunked(entries, _weight, most=MAX_ENTRIES, most_bytes=MAX_BYTES):
            put_all(batch, self._put, key=id)

    def _put(self, entries: list[PutEventsRequestEntryTypeDef]) -> Sequence[Mapping[str, Any]]:
        answer: Any = self._client.put_events(Entries=entries)
        return answer["Entries"] if answer["FailedEntryCount"] else ()


def put_all[A](entries: list[A], put: Callable[[list[A]], Sequence[Mapping[str, Any]]], *, key: Callable[[A], Hashable]) -> None:
    """Put entries, and again those that were refused, each with the later entries of its key.

    `put` makes the call and returns an answer for each entry, or none if no entry was refused. A batch that fails is put again as a
    whole, and adds to the load for which a part of it was refused.

    Raises:
        NotPublished: some were refused in every attempt.
    """
    left, message = entries, ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0.05, 0.2) * attempt)  # noqa: S311 - jitter, not a secret
        tried = left
        left, codes = _refused(tried, put(tried), key)
        if not left:
            return
        message = f"{len(codes)} of {len(tried)} events were refused: {', '.join(sorted(set(codes)))}"
    raise NotPublished(message)


def _refused[A](entries: list[A], answers: Sequence[Mapping[str, Any]], key: Callable[[A], Hashable]) -> tuple[list[A], list[str]]:
    """Return the refused entries, each with the later entries of its key, and the error codes."""
    left, codes, keys = list[A](), list[str](), set[Any]()
    for entry, answer in zip(entries, answers, strict=False):
        if code := answer.get("ErrorCode"):
            codes.append(code)
            keys.add(key(entry))
        if key(entry) in keys:
            left.append(entry)
    return left, codes


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
