"""The items of the order log: one per event, and the attributes of its two sparse indexes.

- The first item of an active order has the keys of the index `open-orders` (the active-order marker). The recovery function finds
  stuck orders by it, and the stock expiry held orders. The marker is written together with the event that gives the saga work. It is
  removed or changed shortly after the event that ends the work.
- Every event of a sampled order has the keys of the index `unpublished` until the publisher has put it on the bus.
- An item is inserted once. Later updates change only markers, and each of them sets one of `UPDATE_MARKERS`, which no insert may
  set. A modified item on the table's stream without them was overwritten. `make restore` inserts items with the marker `published`,
  which the stream's readers ignore.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from orderflow.aws.dynamodb import key, timestamp
from orderflow.domain import events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orderflow.domain.order import Marker

OPEN_SHARDS = 8
# One order of this many is on the index `unpublished`.
SAMPLE = 64
# The partition of the index `unpublished`; the value is stored.
PENDING = "waiting"
# Attributes that an insert may write, and attributes that an update may name. The functions' policies repeat both lists.
ITEM_ATTRIBUTES = (
    "order_id",
    "version",
    "type",
    "event",
    "fingerprint",
    "open_shard",
    "open_since",
    "outbox",
    "outbox_since",
)
UPDATE_MARKERS = ("open_version", "published")
MARKER_ATTRIBUTES = ("order_id", "version", "open_shard", "open_since", "outbox", "outbox_since", *UPDATE_MARKERS)


def is_append(record: Mapping[str, Any]) -> bool:
    """Return whether a record of the table's stream is an appended event: an insert, but not of a restored item."""
    return record["eventName"] == "INSERT" and not is_restored(record)


def is_restored(record: Mapping[str, Any]) -> bool:
    """Return whether a record of the table's stream, or of another source, is the insert of a restored item (decision 52)."""
    return record.get("eventName") == "INSERT" and "published" in record.get("dynamodb", {}).get("NewImage", {})


def event_key(order_id: str, version: int) -> dict[str, Any]:
    """Return the primary key of an event's item."""
    return key(order_id=order_id, version=version)


def event_item(event: events.Event) -> dict[str, Any]:
    """Return the item of an event, without the active-order marker."""
    return {
        "order_id": event.order_id,
        "version": event.order_version,
        "type": event.type,
        "event": events.encode(event).decode(),
        **_outbox_keys(event),
    }


def active_marker(event: events.Event) -> dict[str, str]:
    """Return the active-order marker of an order that is active since this event."""
    return {"open_shard": active_shard(event.order_id), "open_since": timestamp(event.appended_at)}


def active_shards(marked: Marker) -> list[str]:
    """Return the partitions of the index `open-orders` that hold the orders with this marker."""
    return [_shard(number, marked) for number in range(OPEN_SHARDS)]


def active_shard(order_id: str, marked: Marker = "open") -> str:
    """Return the partition of the index `open-orders` for an order with this marker."""
    return _shard(zlib.crc32(order_id.encode()) % OPEN_SHARDS, marked)


def _shard(number: int, marked: Marker) -> str:
    return str(number) if marked == "open" else f"{marked}-{number}"


def _outbox_keys(event: events.Event) -> dict[str, str]:
    """Return the keys of the index `unpublished` for an event of a sampled order."""
    if zlib.crc32(event.order_id.encode()) % SAMPLE:
        return {}
    return {"outbox": PENDING, "outbox_since": timestamp(event.appended_at)}
