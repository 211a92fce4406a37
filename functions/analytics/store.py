"""The table Analytics: what was counted, and what it comes to.

| period | place | content |
|---|---|---|
| `new` | digest of its events | a page: what events of one batch count as, not yet in any sum |
| a minute | digest of its events | a page: the same, of events of this minute that are in its sums; `batch` says since which batch |
| `batch` | `head` | the number of the last batch, and its pages while it is being added to the sums; also how far a recount is |
| an hour, a month, `top` | a minute or day of it, or `all` | a sum: what the period comes to, without its products |
| `products/` and `all` or a day | `#` and a sku | units of products, from this sku up to, and without, `end` |
| `board` | `all` or a day, and after a / maybe a category | the leaderboard |

A page is under a digest of what it holds, so writing it again changes nothing. Events may be on several new pages, and are
counted by their ids, once: those that no page of their minute has go onto pages of the minute, and into the journal, in one
transaction that makes them the next batch. Then the batch is added to the sums. Every sum, range of products and leaderboard has
the number of the last batch that it contains, and is only replaced as it was read; so a batch is added once, whoever does it
however often, and only one after the other.

An item may have 400 KB. A sum has some dozen counters. A range of products that would get larger than `_RANGE_BYTES` is split,
so a change costs the same however many products there are.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import batched
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from analytics.domain import counting_rules
from analytics.domain.counting_rules import Count, Counters, Rank, Units
from orderflow.aws.dynamodb import Conflict, TransactionConflict, transact
from orderflow.aws.event_bus import chunked

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_NEW = "new"
_BOARD = "board"
_TOP = "top"
_UNITS = "products/"
_BATCH = "batch"
_HEAD: dict[str, Any] = {"period": {"S": _BATCH}, "place": {"S": "head"}}
# What is cut so is a tenth of it or less when it is packed.
_MAX_BYTES = 300_000
_MAX_EVENTS = 5_000
# Packed. Some 50 to 100 products, which cost one or two write units.
_RANGE_BYTES = 1_800
# So many changes of one range are made at once: its pieces fit into a transaction.
_MAX_CHANGES = 1_000
# Begins the place of a range, which must not be empty.
_FROM = "#"
# No batch has this number.
NO_BATCH = -1

_counts: msgspec.json.Decoder[list[Count]] = msgspec.json.Decoder(list[Count])
_counters: msgspec.json.Decoder[Counters] = msgspec.json.Decoder(Counters)
_ranks: msgspec.json.Decoder[tuple[Rank, ...]] = msgspec.json.Decoder(tuple[Rank, ...])
_units: msgspec.json.Decoder[Units] = msgspec.json.Decoder(Units)

# Applies a function to every item of a list, maybe to several at once; as `map`.
type Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


class ConcurrentUpdate(RuntimeError):
    """Somebody else replaced a sum meanwhile."""


class CountBatch(Struct, frozen=True):
    """Counts as they are in the table, under the digest `place`; `size` is the bytes of them unpacked."""

    place: str
    counts: list[Count]
    size: int


class Recount(Struct, frozen=True):
    """A recount was asked for at `since` (UTC), and has come to the item with the key `after`."""

    since: datetime
    after: dict[str, Any] | None = None


class BatchHead(Struct, frozen=True):
    """The last batch, with the minutes and places of its pages while it is being added to the sums."""

    batch: int = 0
    pages: tuple[tuple[str, str], ...] = ()
    recount: Recount | None = None


class Total(Struct, frozen=True):
    """What a period comes to after a batch; nothing, after `NEVER`, where it is not there."""

    period: str
    counters: Counters
    batch: int = NO_BATCH


class ProductRange(Struct, frozen=True):
    """Units of the products from `first` up to, and without, `end` (None: all that follow), packed, after a batch."""

    first: str
    end: str | None
    packed: bytes
    batch: int

    @property
    def units(self) -> Units:
        """The units of each product by category."""
        return _units.decode(zlib.decompress(self.packed))


class AnalyticsStore:
    """Reads and writes the table."""

    def __init__(self, table: str, client: DynamoDBClient, each: Each = map) -> None:
        """Work on the DynamoDB table named `table`; `each` may work on several ranges of products at once."""
        self._table = table
        self._client = client
        self._each = each

    def add(self, counts: Iterable[Count]) -> None:
        """Write what events count as, where the next summing up finds it: one write for a batch."""
        for item in _pages(_NEW, counts):
            self._client.put_item(TableName=self._table, Item=item)

    def pending(self, most: int) -> list[CountBatch]:
        """Return up to so many pages that are in no sum yet."""
        answer: Any = self._client.query(
            TableName=self._table,
            KeyConditionExpression="#period = :period",
            ExpressionAttributeNames={"#period": "period"},
            ExpressionAttributeValues={":period": {"S": _NEW}},
            ConsistentRead=True,
            Limit=most,
        )
        return [_page(item) for item in answer["Items"]]

    def remove_pending(self, page: CountBatch) -> None:
        """Take a page off those that are in no sum yet."""
        self._client.delete_item(TableName=self._table, Key={"period": {"S": _NEW}, "place": {"S": page.place}})

    def last_batch(self) -> BatchHead:
        """Return the last batch."""
        item = self._item(_HEAD)
        return _head(item) if item else BatchHead()

    def begin_batch(self, last: BatchHead, counts: Mapping[str, Sequence[Count]]) -> BatchHead:
        """Make counts, by their minutes, the batch after `last`: write them where they stay, and into the journal, all at once.

        Raises:
            Changed: there is another batch after `last`.
        """
        items = [item for minute, some in sorted(counts.items()) for item in _pages(minute, some)]
        head = BatchHead(last.batch + 1, tuple((item["period"]["S"], item["place"]["S"]) for item in items))
        pages: Any = [{"Put": {"TableName": self._table, "Item": item | _number(head.batch)}} for item in items]
        try:
            transact(self._client, [{"Put": self._heading(last, head)}, *pages], (), own=1)
        except (Conflict, TransactionConflict):
            raise ConcurrentUpdate(str(head.batch)) from None
        return head

    def finish_batch(self, head: BatchHead) -> BatchHead:
        """Note that a batch is in all the sums.

        Raises:
            Changed: there is another one since.
        """
        return self._moved(head, BatchHead(head.batch))

    def begin_recount(self, last: BatchHead, now: datetime) -> BatchHead:
        """Note that everything has to be counted again, which is a batch of its own, after `last`.

        Raises:
            Changed: there is another batch after `last`.
        """
        # Empty: so that there is something to do.
        self._client.put_item(TableName=self._table, Item={"period": {"S": _NEW}, "place": {"S": "recount"}, "packed": {"B": _packed([])}})
        return self._moved(last, BatchHead(last.batch + 1, recount=Recount(now)))

    def reset(self, head: BatchHead, most: int) -> BatchHead:
        """Of the next items make pages new ones, and delete the others, for a recount that was begun; return how far it is then.

        What came since the recount was begun stays as it is.

        Raises:
            Changed: the recount is over.
        """
        recount = head.recount
        start: dict[str, Any] = {"ExclusiveStartKey": recount.after} if recount and recount.after else {}
        answer: Any = self._client.scan(TableName=self._table, Limit=most, ConsistentRead=True, **start)
        for item in answer["Items"]:
            self._undo(head, item)
        after = answer.get("LastEvaluatedKey")
        return self._moved(head, BatchHead(head.batch, recount=Recount(recount.since, after) if recount and after else None))

    def counts_of_batch(self, head: BatchHead) -> list[Count]:
        """Return the counts of the last batch."""
        found = [self._item({"period": {"S": minute}, "place": {"S": place}}) for minute, place in head.pages]
        return [count for item in found if item for count in _page(item).counts]

    def counted(self, minute: str) -> list[Count]:
        """Return what was counted in a minute."""
        return [count for item in self._query(minute) for count in _page(item).counts]

    def total(self, period: str) -> Total:
        """Return what a period comes to."""
        item = self._item(_place(period))
        return _sum(item) if item else Total(period, {})

    def totals(self, period: str, first: str, last: str) -> list[Total]:
        """Return the sums of the minutes of an hour, or days of a month, from one to another, ends included, earliest first."""
        return [_sum(item) for item in self._query(period, first, last)]

    def add_to_total(self, batch: int, period: str, counters: Counters) -> None:
        """Add counters of a batch to what a period comes to, unless they are in it.

        Raises:
            Changed: somebody else did so meanwhile.
        """
        before = self.total(period)
        if before.batch < batch:
            self._replace(_place(period), before.batch, batch, counting_rules.sum_counters([before.counters, counters]))

    def ranges(self, period: str) -> Iterator[ProductRange]:
        """Yield the ranges of products that were sold in `all` times or a day."""
        return (_range(item) for item in self._query(f"{_UNITS}{period}", _FROM))

    def add_units(self, batch: int, period: str, units: Units) -> Units:
        """Add units that were sold to those of `all` times or a day, unless they are in them; return all units of these products.

        Raises:
            Changed: somebody else did so meanwhile.
        """
        slices = batched(sorted(units), _MAX_CHANGES, strict=False)
        ranges = {one.first: one for some in self._each(lambda skus: list(self._ranges(period, skus)), slices) for one in some}
        firsts, changes = sorted(ranges), dict[str, Units]()
        for sku in sorted(units):
            changes.setdefault(firsts[bisect_right(firsts, sku) - 1], {})[sku] = units[sku]
        added = self._each(lambda first: self._add_to_range(batch, period, ranges[first], changes[first]), list(changes))
        return {sku: sold for some in added for sku, sold in some.items()}

    def leaderboard(self, period: str, category: str) -> tuple[Rank, ...]:
        """Return the best sellers of `all` times or a day, of a category or, where that is empty, of all."""
        answer = self._client.get_item(TableName=self._table, Key=_board(period, category))
        return _unpacked(answer["Item"], _ranks) if "Item" in answer else ()

    def update_leaderboard(self, batch: int, period: str, category: str, sold: Mapping[str, int]) -> None:
        """Bring products, with all units that were sold of them, into a leaderboard, unless this or a later batch is in it.

        Raises:
            Changed: somebody else did so meanwhile.
        """
        item = self._item(_board(period, category))
        before, last = (_unpacked(item, _ranks), _batch(item)) if item else ((), NO_BATCH)
        ranks = counting_rules.best_sellers(before, sold)
        if last < batch and ranks != before:
            self._replace(_board(period, category), last, batch, ranks)

    def _undo(self, head: BatchHead, item: dict[str, Any]) -> None:
        period = item["period"]["S"]
        if period in {_NEW, _BATCH}:
            return
        if len(period) == counting_rules.MINUTE:
            page = {"period": {"S": _NEW}, "place": item["place"], "packed": item["packed"]}
            self._client.put_item(TableName=self._table, Item=page)
        with suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.delete_item(
                TableName=self._table,
                Key={"period": item["period"], "place": item["place"]},
                ConditionExpression="attribute_not_exists(#batch) OR #batch <= :last",
                ExpressionAttributeNames={"#batch": "batch"},
                ExpressionAttributeValues={":last": {"N": str(head.batch)}},
            )

    def _moved(self, before: BatchHead, after: BatchHead) -> BatchHead:
        self._put(self._heading(before, after))
        return after

    def _ranges(self, period: str, skus: Iterable[str]) -> Iterator[ProductRange]:
        """Yield the ranges that hold products, which are sorted."""
        found: ProductRange | None = None
        for sku in skus:
            if found is None or (found.end is not None and sku >= found.end):
                found = self._range(period, sku)
                yield found

    def _range(self, period: str, sku: str) -> ProductRange:
        answer: Any = self._client.query(
            TableName=self._table,
            KeyConditionExpression="#period = :period AND #place <= :place",
            ExpressionAttributeNames={"#period": "period", "#place": "place"},
            ExpressionAttributeValues={":period": {"S": f"{_UNITS}{period}"}, ":place": {"S": f"{_FROM}{sku}"}},
            ScanIndexForward=False,
            Limit=1,
            ConsistentRead=True,
        )
        if not answer["Items"]:
            return ProductRange("", None, _packed({}), NO_BATCH)
        return _range(answer["Items"][0])

    def _add_to_range(self, batch: int, period: str, found: ProductRange, changes: Units) -> Units:
        """Add units to a range of products that has all of them, and return all units of these products."""
        after: Units = {}
        skus = sorted(changes)
        while skus:
            units = found.units
            if found.batch >= batch:
                return after | {sku: units[sku] for sku in skus}
            some, skus = skus[:_MAX_CHANGES], skus[_MAX_CHANGES:]
            rest = _from(found, skus[0]) if skus else None
            units = {sku: sold for sku, sold in units.items() if rest is None or sku < rest.first}
            after |= {sku: counting_rules.sum_counters([units.get(sku, {}), changes[sku]]) for sku in some}
            pieces = _split(
                ProductRange(found.first, rest.first if rest else found.end, b"", batch), units | {sku: after[sku] for sku in some}
            )
            self._put_ranges(period, found.batch, [*pieces, rest] if rest else pieces)
            found = rest or found
        return after

    def _put_ranges(self, period: str, before: int, ranges: Sequence[ProductRange]) -> None:
        """Replace a range by the ranges that it was split into, or by what it is now.

        Raises:
            Changed: it is not as it was after the batch `before`.
        """
        first, *others = [self._putting(_range_item(period, one), before if number == 0 else NO_BATCH) for number, one in enumerate(ranges)]
        if not others:
            return self._put(first)
        try:
            transact(self._client, [{"Put": put} for put in (first, *others)], (), own=len(ranges))
        except (Conflict, TransactionConflict):
            raise ConcurrentUpdate(period) from None

    def _replace(self, key: dict[str, Any], before: int, batch: int, content: object) -> None:
        self._put(self._putting({**key, **_number(batch), "packed": {"B": _packed(content)}}, before))

    def _heading(self, before: BatchHead, after: BatchHead) -> Any:
        content = {"S": msgspec.json.encode(after).decode()}
        return self._putting({**_HEAD, **_number(after.batch), "head": content}, before.batch or NO_BATCH)

    def _putting(self, item: dict[str, Any], before: int) -> Any:
        """Return the request that puts an item in the place of the one that is as it was after the batch `before`."""
        new = "attribute_not_exists(#batch) OR " if before == NO_BATCH else ""
        return {
            "TableName": self._table,
            "Item": item,
            "ConditionExpression": f"{new}#batch = :before",
            "ExpressionAttributeNames": {"#batch": "batch"},
            "ExpressionAttributeValues": {":before": {"N": str(before)}},
        }

    def _put(self, request: Any) -> None:
        refused = self._client.exceptions
        try:
            self._client.put_item(**request)
        except (refused.ConditionalCheckFailedException, refused.TransactionConflictException):
            raise ConcurrentUpdate(request["Item"]["place"]["S"]) from None

    def _item(self, key: dict[str, Any]) -> dict[str, Any] | None:
        return self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")

    def _query(self, period: str, first: str = "", last: str = "~") -> Iterator[dict[str, Any]]:
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "#period = :period AND #place BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#period": "period", "#place": "place"},
            "ExpressionAttributeValues": {":period": {"S": period}, ":first": {"S": first or "0"}, ":last": {"S": last}},
            "ConsistentRead": True,
        }
        while True:
            answer: Any = self._client.query(**request)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _pages(period: str, counts: Iterable[Count]) -> Iterator[dict[str, Any]]:
    # Sorted, so that it is the same page in whatever order its events came.
    documents = [msgspec.json.encode(one) for _, one in sorted({one.event_id: one for one in counts}.items())]
    for some in chunked(documents, len, most=_MAX_EVENTS, most_bytes=_MAX_BYTES):
        document = b"[" + b",".join(some) + b"]"
        place = hashlib.sha256(document).hexdigest()[:32]
        yield {"period": {"S": period}, "place": {"S": place}, "packed": {"B": zlib.compress(document)}}


def _head(item: dict[str, Any]) -> BatchHead:
    return msgspec.json.decode(item["head"]["S"], type=BatchHead)


def _page(item: dict[str, Any]) -> CountBatch:
    document = zlib.decompress(item["packed"]["B"])
    return CountBatch(item["place"]["S"], _counts.decode(document), len(document))


def _from(found: ProductRange, first: str) -> ProductRange:
    """Return what of a range of products begins at one."""
    return ProductRange(first, found.end, _packed({sku: sold for sku, sold in found.units.items() if sku >= first}), found.batch)


def _split(whole: ProductRange, units: Units) -> list[ProductRange]:
    """Return a range with these units, as several where it would be too large."""
    packed = _packed(units)
    if len(packed) <= _RANGE_BYTES:
        return [ProductRange(whole.first, whole.end, packed, whole.batch)]
    # Half full, so that the next split is far.
    pieces = list(batched(sorted(units), math.ceil(len(units) * _RANGE_BYTES / 2 / len(packed)), strict=False))
    ends = [*(piece[0] for piece in pieces[1:]), whole.end]
    firsts = [whole.first, *(piece[0] for piece in pieces[1:])]
    return [
        ProductRange(first, end, _packed({sku: units[sku] for sku in piece}), whole.batch)
        for first, end, piece in zip(firsts, ends, pieces, strict=True)
    ]


def _range(item: dict[str, Any]) -> ProductRange:
    end = item["end"]["S"] if "end" in item else None
    return ProductRange(item["place"]["S"].removeprefix(_FROM), end, item["packed"]["B"], _batch(item))


def _range_item(period: str, one: ProductRange) -> dict[str, Any]:
    end = {} if one.end is None else {"end": {"S": one.end}}
    place = {"period": {"S": f"{_UNITS}{period}"}, "place": {"S": f"{_FROM}{one.first}"}}
    return {**place, **end, **_number(one.batch), "packed": {"B": one.packed}}


def _place(period: str) -> dict[str, Any]:
    return {"period": {"S": _TOP if period == counting_rules.ALL else counting_rules.parent(period)}, "place": {"S": period}}


def _board(period: str, category: str) -> dict[str, Any]:
    return {"period": {"S": _BOARD}, "place": {"S": f"{period}/{category}"}}


def _number(batch: int) -> dict[str, Any]:
    return {"batch": {"N": str(batch)}}


def _batch(item: dict[str, Any]) -> int:
    return int(item["batch"]["N"]) if "batch" in item else NO_BATCH


def _packed(document: object) -> bytes:
    return zlib.compress(msgspec.json.encode(document))


def _unpacked[A](item: dict[str, Any], decoder: msgspec.json.Decoder[A]) -> A:
    return decoder.decode(zlib.decompress(item["packed"]["B"]))


def _sum(item: dict[str, Any]) -> Total:
    # Those of an older version have units as well, and no batch.
    return Total(item["place"]["S"], counting_rules.without_units(_unpacked(item, _counters)), _batch(item))
