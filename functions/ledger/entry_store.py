"""The table LedgerEntries.

An entry is one item that holds all of its postings, written only where its event has none yet: it is there as a whole or
not at all, and an event that comes again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import batched
from typing import TYPE_CHECKING, Any, cast

from ledger.domain import period_shards, posting_rules
from ledger.domain.posting_rules import Entry, Fees, Posting
from orderflow.aws.dynamodb import ATTEMPTS, TransactionConflict, backoff, timestamp
from orderflow.domain.money import Money

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SHARD_INDEX = "by-sheet"
_KEYS_AT_ONCE = 100


class Contradiction(RuntimeError):
    """There is an entry for the event already, of another kind or amount."""


class EntryStore:
    """Writes and reads entries."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def post(self, entry: Entry, now: datetime) -> bool:
        """Write an entry and say whether it was new.

        Raises:
            Contradiction: the event's entry is there with another type or amount.
        """
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_item(entry, period_shards.shard_of(entry.event_id, now), now),
                ConditionExpression="attribute_not_exists(event_id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            there = _entry_of(cast("dict[str, Any]", refused.response)["Item"])
            if (there.type, there.amount) != (entry.type, entry.amount):
                message = f"{entry.event_id} was posted as {there.type}, not as {entry.type}, or with another amount"
                raise Contradiction(message) from None
            return False
        return True

    def of_shard(self, sheet: str) -> list[Entry]:
        """Return the entries of a sheet. The index follows the table with a delay of a moment."""
        return list(self._query("sheet", sheet, IndexName=SHARD_INDEX))

    def of_order(self, order_id: str) -> list[Entry]:
        """Return the entries of an order."""
        return list(self._query("order_id", order_id, ConsistentRead=True))

    def of_events(self, order_id: str, event_ids: Iterable[str]) -> list[Entry]:
        """Return the entries of some events of an order.

        Raises:
            TransactionConflict: DynamoDB kept leaving some of them out of its answers.
        """
        keys: list[Any] = [{"order_id": {"S": order_id}, "event_id": {"S": event_id}} for event_id in dict.fromkeys(event_ids)]
        return [_entry_of(item) for some in batched(keys, _KEYS_AT_ONCE, strict=False) for item in self._fetch(list(some))]

    def _fetch(self, keys: list[Any]) -> Iterator[dict[str, Any]]:
        for attempt in range(ATTEMPTS):
            if attempt:
                backoff(attempt)
            answer: Any = self._client.batch_get_item(RequestItems={self._table: {"Keys": keys, "ConsistentRead": True}})
            yield from answer["Responses"].get(self._table, [])
            keys = answer["UnprocessedKeys"].get(self._table, {}).get("Keys", [])
            if not keys:
                return
        raise TransactionConflict

    def _query(self, key: str, value: str, **more: Any) -> Iterator[Entry]:
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": f"{key} = :value",
            "ExpressionAttributeValues": {":value": {"S": value}},
            **more,
        }
        while True:
            page = self._client.query(**request)
            yield from map(_entry_of, page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _item(entry: Entry, sheet: str, now: datetime) -> dict[str, Any]:
    return {
        "event_id": {"S": entry.event_id},
        "order_id": {"S": entry.order_id},
        "type": {"S": entry.type},
        "occurred_at": {"S": timestamp(entry.occurred_at)},
        "posted_at": {"S": timestamp(now)},
        "sheet": {"S": sheet},
        "currency": {"S": entry.amount.currency},
        "amount": {"N": str(entry.amount.amount)},
        "postings": {"L": [{"M": {"account": {"S": one.account}, "amount": {"N": str(one.amount)}}} for one in entry.postings]},
        **({"fees": _fees(entry)} if entry.fees != Fees() else {}),
    }


def _entry_of(item: Mapping[str, Any]) -> Entry:
    amount = Money(int(item["amount"]["N"]), item["currency"]["S"])
    postings = tuple(Posting(one["M"]["account"]["S"], int(one["M"]["amount"]["N"])) for one in item["postings"]["L"])
    return Entry(
        event_id=item["event_id"]["S"],
        order_id=item["order_id"]["S"],
        type=item["type"]["S"],
        occurred_at=datetime.fromisoformat(item["occurred_at"]["S"]),
        amount=amount,
        postings=postings,
        fees=_fees_of(item, amount.currency, postings),
    )


def _fees(entry: Entry) -> dict[str, Any]:
    fixed = entry.fees.fixed.get(entry.amount.currency, 0)
    return {"M": {"basis_points": {"N": str(entry.fees.basis_points)}, "fixed": {"N": str(fixed)}}}


def _fees_of(item: Mapping[str, Any], currency: str, postings: tuple[Posting, ...]) -> Fees:
    """Return the fees an entry was made by; one that was written before they stood on it is taken at its word."""
    if "fees" not in item:
        return posting_rules.terms(Fees(fixed={currency: posting_rules.net(postings)["fees"]}), currency)
    terms = item["fees"]["M"]
    return posting_rules.terms(Fees(int(terms["basis_points"]["N"]), {currency: int(terms["fixed"]["N"])}), currency)
