"""The items of the table Analytics.

| period | place | content |
|---|---|---|
| `new` | digest of its events | a pending count batch: the counts of one invocation, in no total |
| a minute | digest of its events | a count batch whose counts are in the totals of this minute; `batch` is its journal number |
| `batch` | `head` | the journal: the last number, its count batches while they are added to the totals, and the progress of a recount |
| an hour, a month, `top` | a minute or day of it, or `all` | the total of the period, without products |
| `products/` and `all` or a day | `#` and a sku | a product range: units of the products from this sku to `end`, without `end` |
| `board` | `all` or a day, `/`, and a category or nothing | a leaderboard |

A count batch is stored under a digest of its counts, so writing it again changes nothing. An event may be in several pending count
batches and is counted once, by its id: counts that no count batch of their minute contains are written there and into the journal, in
one transaction that takes the next journal number. Then that batch is added to the totals. Every total, product range and leaderboard
stores the last journal number that it contains and is replaced only if unchanged, so a batch is added once and in order, even by
concurrent functions.

DynamoDB limits an item to 400 KB. A total has some dozen counters. A product range that exceeds `RANGE_BYTES` is split, so the cost of
a change does not depend on the number of products.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import batched
from typing import Any

import msgspec
from msgspec import Struct

from analytics.domain import counting_rules
from analytics.domain.counting_rules import Count, Counters, Rank, Units
from orderflow.aws.dynamodb import encode_item, key
from orderflow.aws.event_bus import chunked

NEW = "new"
JOURNAL = "batch"
HEAD = key(period=JOURNAL, place="head")
# No journal number.
NO_BATCH = -1
# A prefix, because a sort key must not be empty.
RANGE_PREFIX = "#"
# Compressed: 50 to 100 products, which cost one or two write units.
RANGE_BYTES = 1_800
_BOARD = "board"
_TOP = "top"
_PRODUCTS = "products/"
# Uncompressed; compressed it is a tenth or less.
_MAX_BYTES = 300_000
_MAX_EVENTS = 5_000

_counts: msgspec.json.Decoder[list[Count]] = msgspec.json.Decoder(list[Count])
_counters: msgspec.json.Decoder[Counters] = msgspec.json.Decoder(Counters)
_ranks: msgspec.json.Decoder[tuple[Rank, ...]] = msgspec.json.Decoder(tuple[Rank, ...])
_units: msgspec.json.Decoder[Units] = msgspec.json.Decoder(Units)


class CountBatch(Struct, frozen=True):
    """Counts under their digest `place`; `size` is their uncompressed size in bytes."""

    place: str
    counts: list[Count]
    size: int


class Recount(Struct, frozen=True):
    """A recount that was requested at `since` (UTC) and has processed the items up to the key `after`."""

    since: datetime
    after: dict[str, Any] | None = None


class BatchHead(Struct, frozen=True):
    """The last journal number, and the keys (minute, place) of its count batches while they are added to the totals."""

    batch: int = 0
    pages: tuple[tuple[str, str], ...] = ()
    recount: Recount | None = None


class Total(Struct, frozen=True):
    """The counters of a period up to a journal number; empty with `NO_BATCH` if the period has none."""

    period: str
    counters: Counters
    batch: int = NO_BATCH


class ProductRange(Struct, frozen=True):
    """Compressed units of the products from `first` to `end`, without `end` (None: no upper bound), up to a journal number."""

    first: str
    end: str | None
    packed: bytes
    batch: int

    @property
    def units(self) -> Units:
        """The units of each product by category."""
        return _units.decode(zlib.decompress(self.packed))


EMPTY_RANGE = ProductRange("", None, zlib.compress(b"{}"), NO_BATCH)


def pack(document: object) -> bytes:
    """Return a document as compressed JSON."""
    return zlib.compress(msgspec.json.encode(document))


def total_key(period: str) -> dict[str, Any]:
    """Return the key of a period's total."""
    return key(period=_TOP if period == counting_rules.ALL else counting_rules.parent(period), place=period)


def board_key(period: str, category: str) -> dict[str, Any]:
    """Return the key of a leaderboard."""
    return key(period=_BOARD, place=f"{period}/{category}")


def ranges_of(period: str) -> str:
    """Return the partition of a period's product ranges."""
    return f"{_PRODUCTS}{period}"


def count_batch_items(period: str, counts: Iterable[Count]) -> Iterator[dict[str, Any]]:
    """Yield the items that store counts under a period, of limited size; the same for any order of the counts."""
    documents = [msgspec.json.encode(one) for _, one in sorted({one.event_id: one for one in counts}.items())]
    for some in chunked(documents, len, most=_MAX_EVENTS, most_bytes=_MAX_BYTES):
        document = b"[" + b",".join(some) + b"]"
        place = hashlib.sha256(document).hexdigest()[:32]
        yield encode_item({"period": period, "place": place, "packed": zlib.compress(document)})


def count_batch(item: dict[str, Any]) -> CountBatch:
    """Return the count batch of an item."""
    document = zlib.decompress(item["packed"]["B"])
    return CountBatch(item["place"]["S"], _counts.decode(document), len(document))


def head(item: dict[str, Any] | None) -> BatchHead:
    """Return the head of the journal."""
    return msgspec.json.decode(item["head"]["S"], type=BatchHead) if item else BatchHead()


def head_item(after: BatchHead) -> dict[str, Any]:
    """Return the item of the head of the journal."""
    return {**HEAD, **encode_item({"batch": after.batch, "head": msgspec.json.encode(after).decode()})}


def total(item: dict[str, Any]) -> Total:
    """Return the total of an item; totals of an older version contain units and no journal number."""
    counters = _counters.decode(zlib.decompress(item["packed"]["B"]))
    return Total(item["place"]["S"], counting_rules.without_units(counters), batch_of(item))


def leaderboard(item: dict[str, Any] | None) -> tuple[Rank, ...]:
    """Return the ranks of a leaderboard's item."""
    return _ranks.decode(zlib.decompress(item["packed"]["B"])) if item else ()


def batch_of(item: dict[str, Any] | None) -> int:
    """Return the last journal number that an item contains."""
    return int(item["batch"]["N"]) if item and "batch" in item else NO_BATCH


def product_range(item: dict[str, Any]) -> ProductRange:
    """Return the product range of an item."""
    end = item["end"]["S"] if "end" in item else None
    return ProductRange(item["place"]["S"].removeprefix(RANGE_PREFIX), end, item["packed"]["B"], batch_of(item))


def product_range_item(period: str, one: ProductRange) -> dict[str, Any]:
    """Return the item of a product range."""
    end = {} if one.end is None else {"end": one.end}
    place = f"{RANGE_PREFIX}{one.first}"
    return encode_item({"period": ranges_of(period), "place": place, **end, "batch": one.batch, "packed": one.packed})


def tail(found: ProductRange, first: str) -> ProductRange:
    """Return the part of a product range that begins at a product."""
    return ProductRange(first, found.end, pack({sku: sold for sku, sold in found.units.items() if sku >= first}), found.batch)


def split(whole: ProductRange, units: Units) -> list[ProductRange]:
    """Return a product range with these units, split if it exceeds `RANGE_BYTES`."""
    packed = pack(units)
    if len(packed) <= RANGE_BYTES:
        return [ProductRange(whole.first, whole.end, packed, whole.batch)]
    # Half full, so that the next split comes late.
    parts = list(batched(sorted(units), math.ceil(len(units) * RANGE_BYTES / 2 / len(packed)), strict=False))
    ends = [*(part[0] for part in parts[1:]), whole.end]
    firsts = [whole.first, *(part[0] for part in parts[1:])]
    return [
        ProductRange(first, end, pack({sku: units[sku] for sku in part}), whole.batch)
        for first, end, part in zip(firsts, ends, parts, strict=True)
    ]
