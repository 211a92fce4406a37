"""The table Analytics: what was counted, and what it comes to.

| period | place | what |
|---|---|---|
| `new` | digest of its events | a page: what events of one batch count as, not yet in any sum |
| a minute | digest of its events | a page: the same, of events of this minute, for good |
| the period that it is a part of, of `all` `top` | a minute, hour, day, month, or `all` | a sum: what its parts come to |
| `board` | `all` or a day, and after a / maybe a category | the leaderboard |

A page is under a digest of what it holds, so writing it again changes nothing. Events may be on several pages, and are
counted by their ids. A sum is only replaced as it was read, before what it is made of was read: the last one is of the latest.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from analytics import rules
from analytics.rules import Count, Counters, Rank
from orderflow.bus import cut

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_NEW = "new"
_BOARD = "board"
_TOP = "top"
# An item may have 400 KB. What is cut so is a tenth of it or less when it is packed.
_MOST_BYTES = 300_000
_MOST_EVENTS = 5_000

_counts: msgspec.json.Decoder[list[Count]] = msgspec.json.Decoder(list[Count])
_counters: msgspec.json.Decoder[Counters] = msgspec.json.Decoder(Counters)
_ranks: msgspec.json.Decoder[tuple[Rank, ...]] = msgspec.json.Decoder(tuple[Rank, ...])


class Changed(RuntimeError):
    """Somebody else replaced a sum meanwhile."""


class Page(Struct, frozen=True):
    """Counts as they lie in the table, under the digest `place`."""

    place: str
    counts: list[Count]


class Sum(Struct, frozen=True):
    """What a period comes to, after so many changes; nothing, after none, where it is not there."""

    period: str
    counters: Counters
    changes: int = 0


class Analytics:
    """Reads and writes the table."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def add(self, counts: Iterable[Count]) -> None:
        """Write what events count as, where the next summing up finds it: one write for a batch."""
        self._write(_NEW, counts)

    def new(self, most: int) -> list[Page]:
        """Return up to so many pages that are in no sum yet."""
        answer: Any = self._client.query(
            TableName=self._table,
            KeyConditionExpression="#period = :period",
            ExpressionAttributeNames={"#period": "period"},
            ExpressionAttributeValues={":period": {"S": _NEW}},
            ConsistentRead=True,
            Limit=most,
        )
        return [Page(item["place"]["S"], _unpacked(item, _counts)) for item in answer["Items"]]

    def keep(self, minute: str, counts: Iterable[Count]) -> None:
        """Write counts of a minute where they stay."""
        self._write(minute, counts)

    def done(self, page: Page) -> None:
        """Take a page off those that are in no sum yet."""
        self._client.delete_item(TableName=self._table, Key={"period": {"S": _NEW}, "place": {"S": page.place}})

    def counted(self, minute: str) -> list[Count]:
        """Return what was counted in a minute; an event may be there more than once."""
        return [count for item in self._query(minute) for count in _unpacked(item, _counts)]

    def sum(self, period: str) -> Sum:
        """Return what a period comes to."""
        answer = self._client.get_item(TableName=self._table, Key=_place(period), ConsistentRead=True)
        return _sum(answer["Item"]) if "Item" in answer else Sum(period, {})

    def parts(self, period: str, first: str = "", last: str = "~") -> list[Sum]:
        """Return the sums of the parts of a period from one to another, ends included, earliest first."""
        return [_sum(item) for item in self._query(period, first, last)]

    def replace(self, before: Sum, counters: Counters) -> Sum:
        """Let a period come to this, and return what it is now.

        Raises:
            Changed: it is not as it was before.
        """
        now = Sum(before.period, counters, before.changes + 1)
        condition: Any = {"ConditionExpression": "attribute_not_exists(#changes)"}
        if before.changes:
            condition = {
                "ConditionExpression": "#changes = :before",
                "ExpressionAttributeValues": {":before": {"N": str(before.changes)}},
            }
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**_place(now.period), "changes": {"N": str(now.changes)}, "packed": {"B": _packed(now.counters)}},
                ExpressionAttributeNames={"#changes": "changes"},
                **condition,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            raise Changed(before.period) from None
        return now

    def leaderboard(self, period: str, category: str) -> tuple[Rank, ...]:
        """Return the best sellers of `all` times or a day, of a category or, where that is empty, of all."""
        answer = self._client.get_item(TableName=self._table, Key=_board(period, category))
        return _unpacked(answer["Item"], _ranks) if "Item" in answer else ()

    def rank(self, of: Sum, category: str, ranks: tuple[Rank, ...]) -> None:
        """Write a leaderboard that was made of a sum, unless there is one of the period's sum as it was later."""
        changes = {"N": str(of.changes)}
        with contextlib.suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.put_item(
                TableName=self._table,
                Item={**_board(of.period, category), "changes": changes, "packed": {"B": _packed(ranks)}},
                ConditionExpression="attribute_not_exists(#changes) OR #changes < :changes",
                ExpressionAttributeNames={"#changes": "changes"},
                ExpressionAttributeValues={":changes": changes},
            )

    def _write(self, period: str, counts: Iterable[Count]) -> None:
        # Sorted, so that it is the same page in whatever order its events came.
        documents = [msgspec.json.encode(one) for _, one in sorted({one.event_id: one for one in counts}.items())]
        for page in cut(documents, len, most=_MOST_EVENTS, most_bytes=_MOST_BYTES):
            document = b"[" + b",".join(page) + b"]"
            key = {"period": {"S": period}, "place": {"S": hashlib.sha256(document).hexdigest()[:32]}}
            self._client.put_item(TableName=self._table, Item={**key, "packed": {"B": zlib.compress(document)}})

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


def _place(period: str) -> dict[str, Any]:
    return {"period": {"S": _TOP if period == rules.ALL else rules.parent(period)}, "place": {"S": period}}


def _board(period: str, category: str) -> dict[str, Any]:
    return {"period": {"S": _BOARD}, "place": {"S": f"{period}/{category}"}}


def _packed(document: object) -> bytes:
    return zlib.compress(msgspec.json.encode(document))


def _unpacked[A](item: dict[str, Any], decoder: msgspec.json.Decoder[A]) -> A:
    return decoder.decode(zlib.decompress(item["packed"]["B"]))


def _sum(item: dict[str, Any]) -> Sum:
    return Sum(item["place"]["S"], _unpacked(item, _counters), int(item["changes"]["N"]))
