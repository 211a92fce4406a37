"""The table LedgerEntries: one item per journal entry, with all of its postings.

An entry is written on condition that its event has none, so it is complete or missing, and a redelivered event changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import batched
from typing import TYPE_CHECKING, Any

from ledger.domain import period_shards, posting_rules
from ledger.domain.posting_rules import Entry, Fees, Posting
from orderflow.aws.dynamodb import encode_item, key, read_batch, read_items, stored_item, values
from orderflow.domain.money import Money

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SHARD_INDEX = "by-sheet"
_MAX_KEYS = 100


class Contradiction(RuntimeError):
    """The event has an entry with another type or amount."""


class EntryStore:
    """Writes and reads entries."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def post(self, entry: Entry, now: datetime) -> bool:
        """Write an entry; return False if it exists.

        Raises:
            Contradiction: the event has an entry with another type or amount.
        """
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_item_of(entry, period_shards.shard_of(entry.event_id, now), now),
                ConditionExpression="attribute_not_exists(event_id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            stored = _entry_of(stored_item(refused))
            if (stored.type, stored.amount) != (entry.type, entry.amount):
                message = f"{entry.event_id} is posted as {stored.type} {stored.amount}, not as {entry.type} {entry.amount}"
                raise Contradiction(message) from None
            return False
        return True

    def of_shard(self, shard: str) -> list[Entry]:
        """Return the entries of a period shard. The index is eventually consistent."""
        return list(self._query("sheet", shard, IndexName=SHARD_INDEX))

    def of_order(self, order_id: str) -> list[Entry]:
        """Return the entries of an order."""
        return list(self._query("order_id", order_id, ConsistentRead=True))

    def of_events(self, order_id: str, event_ids: Iterable[str]) -> list[Entry]:
        """Return the entries of some events of an order.

        Raises:
            TransactionConflict: DynamoDB left some of them unprocessed in every attempt.
        """
        keys = [key(order_id=order_id, event_id=event_id) for event_id in dict.fromkeys(event_ids)]
        items = (item for some in batched(keys, _MAX_KEYS, strict=False) for item in read_batch(self._client, self._table, some))
        return [_entry_of(item) for item in items]

    def _query(self, attribute: str, value: str, **more: Any) -> Iterator[Entry]:
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": f"{attribute} = :value",
            "ExpressionAttributeValues": values(value=value),
            **more,
        }
        return map(_entry_of, read_items(self._client.query, **request))


def _item_of(entry: Entry, shard: str, now: datetime) -> dict[str, Any]:
    currency = entry.amount.currency
    fees = {"basis_points": entry.fees.basis_points, "fixed": entry.fees.fixed.get(currency, 0)}
    return encode_item(
        {
            "event_id": entry.event_id,
            "order_id": entry.order_id,
            "type": entry.type,
            "occurred_at": entry.occurred_at,
            "posted_at": now,
            "sheet": shard,
            "currency": currency,
            "amount": entry.amount.amount,
            "postings": [{"account": one.account, "amount": one.amount} for one in entry.postings],
            **({"fees": fees} if entry.fees != Fees() else {}),
        }
    )


def _entry_of(item: Mapping[str, Any]) -> Entry:
    amount = Money(item["amount"], item["currency"])
    postings = tuple(Posting(one["account"], one["amount"]) for one in item["postings"])
    return Entry(
        event_id=item["event_id"],
        order_id=item["order_id"],
        type=item["type"],
        occurred_at=datetime.fromisoformat(item["occurred_at"]),
        amount=amount,
        postings=postings,
        fees=_fees_of(item, amount.currency, postings),
    )


def _fees_of(item: Mapping[str, Any], currency: str, postings: tuple[Posting, ...]) -> Fees:
    """Return the fees of an entry; an entry of an older version has no fee terms, so its posted fee is taken as a fixed one."""
    if "fees" not in item:
        return posting_rules.terms(Fees(fixed={currency: posting_rules.net(postings)["fees"]}), currency)
    return posting_rules.terms(Fees(item["fees"]["basis_points"], {currency: item["fees"]["fixed"]}), currency)
