"""The table Analytics: count batches, their journal, totals, product ranges and leaderboards (see `analytics.items`)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import batched
from typing import TYPE_CHECKING, Any

from analytics import items
from analytics.domain import counting_rules
from analytics.domain.counting_rules import Count, Counters, Rank, Units
from analytics.items import NEW, NO_BATCH, BatchHead, CountBatch, ProductRange, Recount, Total
from orderflow.aws.dynamodb import Conflict, TransactionConflict, encode_item, key, transact, values

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.aws.parallel import Each

# Changes of one product range per transaction, so that its parts fit into it.
_MAX_CHANGES = 1_000
_NAMES = {"#period": "period", "#place": "place"}


class ConcurrentUpdate(RuntimeError):
    """Another function replaced the item since it was read."""


class AnalyticsStore:
    """Reads and writes the table."""

    def __init__(self, table: str, client: DynamoDBClient, each: Each = map) -> None:
        """Work on the DynamoDB table named `table`; `each` may change several product ranges in parallel."""
        self._table = table
        self._client = client
        self._each = each

    def add(self, counts: Iterable[Count]) -> None:
        """Store counts as pending, one write per count batch."""
        for item in items.count_batch_items(NEW, counts):
            self._client.put_item(TableName=self._table, Item=item)

    def pending(self, most: int) -> list[CountBatch]:
        """Return up to `most` pending count batches."""
        answer: Any = self._client.query(
            TableName=self._table,
            KeyConditionExpression="#period = :period",
            ExpressionAttributeNames={"#period": "period"},
            ExpressionAttributeValues=values(period=NEW),
            ConsistentRead=True,
            Limit=most,
        )
        return [items.count_batch(item) for item in answer["Items"]]

    def remove_pending(self, batch: CountBatch) -> None:
        """Delete a pending count batch."""
        self._client.delete_item(TableName=self._table, Key=key(period=NEW, place=batch.place))

    def last_batch(self) -> BatchHead:
        """Return the head of the journal."""
        return items.head(self._item(items.HEAD))

    def begin_batch(self, last: BatchHead, counts: Mapping[str, Sequence[Count]]) -> BatchHead:
        """Write counts, by their minutes, and the journal entry after `last` in one transaction.

        Raises:
            ConcurrentUpdate: the journal has another entry after `last`.
        """
        found = [item for minute, some in sorted(counts.items()) for item in items.count_batch_items(minute, some)]
        head = BatchHead(last.batch + 1, tuple((item["period"]["S"], item["place"]["S"]) for item in found))
        puts: Any = [{"Put": {"TableName": self._table, "Item": item | encode_item({"batch": head.batch})}} for item in found]
        try:
            transact(self._client, [{"Put": self._head_put(last, head)}, *puts], own=1)
        except (Conflict, TransactionConflict):
            raise ConcurrentUpdate(str(head.batch)) from None
        return head

    def finish_batch(self, head: BatchHead) -> BatchHead:
        """Record that a batch is in all totals.

        Raises:
            ConcurrentUpdate: the journal changed since.
        """
        return self._advance(head, BatchHead(head.batch))

    def begin_recount(self, last: BatchHead, now: datetime) -> BatchHead:
        """Record the begin of a recount as the journal entry after `last`.

        Raises:
            ConcurrentUpdate: the journal has another entry after `last`.
        """
        # An empty pending count batch makes the next aggregation run.
        empty = {"period": NEW, "place": "recount", "packed": items.pack([])}
        self._client.put_item(TableName=self._table, Item=encode_item(empty))
        return self._advance(last, BatchHead(last.batch + 1, recount=Recount(now)))

    def reset(self, head: BatchHead, most: int) -> BatchHead:
        """Process the next `most` items of a recount: make count batches pending and delete the rest; return the new head.

        Items of later journal entries stay.

        Raises:
            ConcurrentUpdate: the recount is complete.
        """
        recount = head.recount
        start: dict[str, Any] = {"ExclusiveStartKey": recount.after} if recount and recount.after else {}
        answer: Any = self._client.scan(TableName=self._table, Limit=most, ConsistentRead=True, **start)
        for item in answer["Items"]:
            self._reset(head, item)
        after = answer.get("LastEvaluatedKey")
        return self._advance(head, BatchHead(head.batch, recount=Recount(recount.since, after) if recount and after else None))

    def counts_of_batch(self, head: BatchHead) -> list[Count]:
        """Return the counts of the last journal entry."""
        found = [self._item(key(period=minute, place=place)) for minute, place in head.pages]
        return [count for item in found if item for count in items.count_batch(item).counts]

    def counted(self, minute: str) -> list[Count]:
        """Return the counts of a minute that are in its totals."""
        return [count for item in self._query(minute) for count in items.count_batch(item).counts]

    def total(self, period: str) -> Total:
        """Return the total of a period."""
        item = self._item(items.total_key(period))
        return items.total(item) if item else Total(period, {})

    def totals(self, period: str, first: str, last: str) -> list[Total]:
        """Return the totals of the minutes of an hour, or days of a month, from `first` to `last` included, oldest first."""
        return [items.total(item) for item in self._query(period, first, last)]

    def add_to_total(self, batch: int, period: str, counters: Counters) -> None:
        """Add the counters of a batch to a period's total, once.

        Raises:
            ConcurrentUpdate: another function replaced the total.
        """
        before = self.total(period)
        if before.batch < batch:
            after = counting_rules.sum_counters([before.counters, counters])
            self._replace(items.total_key(period), before.batch, batch, after)

    def ranges(self, period: str) -> Iterator[ProductRange]:
        """Yield the product ranges of `all` times or a day."""
        return map(items.product_range, self._query(items.ranges_of(period), items.RANGE_PREFIX))

    def add_units(self, batch: int, period: str, units: Units) -> Units:
        """Add the units of a batch to `all` times or a day, once; return the new units of these products.

        Raises:
            ConcurrentUpdate: another function replaced a product range.
        """
        slices = batched(sorted(units), _MAX_CHANGES, strict=False)
        ranges = {one.first: one for some in self._each(lambda skus: list(self._ranges(period, skus)), slices) for one in some}
        firsts, changes = sorted(ranges), dict[str, Units]()
        for sku in sorted(units):
            changes.setdefault(firsts[bisect_right(firsts, sku) - 1], {})[sku] = units[sku]
        added = self._each(lambda first: self._add_to_range(batch, period, ranges[first], changes[first]), list(changes))
        return {sku: sold for some in added for sku, sold in some.items()}

    def leaderboard(self, period: str, category: str) -> tuple[Rank, ...]:
        """Return the best sellers of `all` times or a day, of a category or (if empty) of all categories."""
        return items.leaderboard(self._client.get_item(TableName=self._table, Key=items.board_key(period, category)).get("Item"))

    def update_leaderboard(self, batch: int, period: str, category: str, sold: Mapping[str, int]) -> None:
        """Rank products by all their units in a leaderboard, unless it contains this or a later batch.

        Raises:
            ConcurrentUpdate: another function replaced the leaderboard.
        """
        board = items.board_key(period, category)
        item = self._item(board)
        before, last = items.leaderboard(item), items.batch_of(item)
        ranks = counting_rules.best_sellers(before, sold)
        if last < batch and ranks != before:
            self._replace(board, last, batch, ranks)

    def _reset(self, head: BatchHead, item: dict[str, Any]) -> None:
        period = item["period"]["S"]
        if period in {NEW, items.JOURNAL}:
            return
        if len(period) == counting_rules.MINUTE:
            pending = {**encode_item({"period": NEW}), "place": item["place"], "packed": item["packed"]}
            self._client.put_item(TableName=self._table, Item=pending)
        with suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.delete_item(
                TableName=self._table,
                Key={"period": item["period"], "place": item["place"]},
                ConditionExpression="attribute_not_exists(#batch) OR #batch <= :last",
                ExpressionAttributeNames={"#batch": "batch"},
                ExpressionAttributeValues=values(last=head.batch),
            )

    def _advance(self, before: BatchHead, after: BatchHead) -> BatchHead:
        self._put(self._head_put(before, after))
        return after

    def _ranges(self, period: str, skus: Iterable[str]) -> Iterator[ProductRange]:
        """Yield the ranges that contain sorted products."""
        found: ProductRange | None = None
        for sku in skus:
            if found is None or (found.end is not None and sku >= found.end):
                found = self._range(period, sku)
                yield found

    def _range(self, period: str, sku: str) -> ProductRange:
        answer: Any = self._client.query(
            TableName=self._table,
            KeyConditionExpression="#period = :period AND #place <= :place",
            ExpressionAttributeNames=_NAMES,
            ExpressionAttributeValues=values(period=items.ranges_of(period), place=f"{items.RANGE_PREFIX}{sku}"),
            ScanIndexForward=False,
            Limit=1,
            ConsistentRead=True,
        )
        return items.product_range(answer["Items"][0]) if answer["Items"] else items.EMPTY_RANGE

    def _add_to_range(self, batch: int, period: str, found: ProductRange, changes: Units) -> Units:
        """Add units to a range that contains all of these products; return their new units."""
        after: Units = {}
        skus = sorted(changes)
        while skus:
            units = found.units
            if found.batch >= batch:
                return after | {sku: units[sku] for sku in skus}
            some, skus = skus[:_MAX_CHANGES], skus[_MAX_CHANGES:]
            rest = items.tail(found, skus[0]) if skus else None
            units = {sku: sold for sku, sold in units.items() if rest is None or sku < rest.first}
            after |= {sku: counting_rules.sum_counters([units.get(sku, {}), changes[sku]]) for sku in some}
            whole = ProductRange(found.first, rest.first if rest else found.end, b"", batch)
            parts = items.split(whole, units | {sku: after[sku] for sku in some})
            self._put_ranges(period, found.batch, [*parts, rest] if rest else parts)
            found = rest or found
        return after

    def _put_ranges(self, period: str, before: int, ranges: Sequence[ProductRange]) -> None:
        """Replace a range by its new state, or by the ranges that it is split into.

        Raises:
            ConcurrentUpdate: the range changed since the batch `before`.
        """
        found = [items.product_range_item(period, one) for one in ranges]
        first, *others = [self._conditional_put(item, NO_BATCH if number else before) for number, item in enumerate(found)]
        if not others:
            return self._put(first)
        try:
            transact(self._client, [{"Put": put} for put in (first, *others)])
        except (Conflict, TransactionConflict):
            raise ConcurrentUpdate(period) from None

    def _replace(self, item_key: dict[str, Any], before: int, batch: int, content: object) -> None:
        self._put(self._conditional_put({**item_key, **encode_item({"batch": batch, "packed": items.pack(content)})}, before))

    def _head_put(self, before: BatchHead, after: BatchHead) -> Any:
        return self._conditional_put(items.head_item(after), before.batch or NO_BATCH)

    def _conditional_put(self, item: dict[str, Any], before: int) -> Any:
        """Return the request that replaces an item if it is unchanged since the batch `before`."""
        new = "attribute_not_exists(#batch) OR " if before == NO_BATCH else ""
        return {
            "TableName": self._table,
            "Item": item,
            "ConditionExpression": f"{new}#batch = :before",
            "ExpressionAttributeNames": {"#batch": "batch"},
            "ExpressionAttributeValues": values(before=before),
        }

    def _put(self, request: Any) -> None:
        refused = self._client.exceptions
        try:
            self._client.put_item(**request)
        except (refused.ConditionalCheckFailedException, refused.TransactionConflictException):
            raise ConcurrentUpdate(request["Item"]["place"]["S"]) from None

    def _item(self, item_key: dict[str, Any]) -> dict[str, Any] | None:
        return self._client.get_item(TableName=self._table, Key=item_key, ConsistentRead=True).get("Item")

    def _query(self, period: str, first: str = "", last: str = "~") -> Iterator[dict[str, Any]]:
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "#period = :period AND #place BETWEEN :first AND :last",
            "ExpressionAttributeNames": _NAMES,
            "ExpressionAttributeValues": values(period=period, first=first or "0", last=last),
            "ConsistentRead": True,
        }
        while True:
            answer: Any = self._client.query(**request)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
