"""The tables LedgerEntries and LedgerBalances.

An entry and what it adds to the balances of its sheet are one transaction, and the entry is written only where the event
has none yet: an event that comes again changes nothing. A row of balances holds all accounts of a sheet and currency, so
that the transaction has two items however many accounts an entry touches.

LedgerBalances also holds, under the sheet `carried`, what all proven sheets come to, and under `proof` how far they go.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ledger import rules, sheets
from ledger.rules import ACCOUNTS, Entry, Posting
from orderflow.log import Contention, timestamp
from orderflow.money import Currency, Money

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

BY_SHEET = "by-sheet"
_CARRIED = "carried"
_PROOF = {"sheet": {"S": "proof"}, "currency": {"S": "-"}}
_ATTEMPTS = 5


class Contradiction(RuntimeError):
    """There is an entry for the event already, of another kind or amount."""


class Balances(Struct, frozen=True):
    """What each account comes to in minor units, and of how many entries."""

    accounts: Mapping[str, int]
    entries: int


class Books:
    """Writes and reads entries and balances."""

    def __init__(self, entries: str, balances: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB tables `entries` and `balances`."""
        self._entries = entries
        self._balances = balances
        self._client = client

    def post(self, entry: Entry, now: datetime) -> bool:
        """Write an entry and add it to the balances; say whether it was new.

        Raises:
            Contradiction: the event's entry is there with another type or amount.
            Contention: other transactions kept getting in the way.
        """
        sheet = sheets.sheet(entry.event_id, now)
        writes = [self._put(entry, sheet, now), self._add(sheet, entry.amount.currency, rules.net(entry.postings), 1)]
        refused = self._refused(writes)
        return refused is None or _known(entry, refused.get("Item", {}))

    def of_sheet(self, sheet: str) -> list[Entry]:
        """Return the entries of a sheet. The index follows the table with a delay of a moment."""
        return list(self._query("sheet", sheet, IndexName=BY_SHEET))

    def of_order(self, order_id: str) -> list[Entry]:
        """Return the entries of an order."""
        return list(self._query("order_id", order_id, ConsistentRead=True))

    def balances(self, sheet: str) -> dict[Currency, Balances]:
        """Return the balances of a sheet by currency."""
        pages = self._pages(
            TableName=self._balances,
            KeyConditionExpression="sheet = :sheet",
            ExpressionAttributeValues={":sheet": {"S": sheet}},
            ConsistentRead=True,
        )
        return {item["currency"]["S"]: _balances_of(item) for item in pages}

    def carried(self) -> dict[Currency, Balances]:
        """Return what all proven sheets come to, by currency."""
        return self.balances(_CARRIED)

    def proven(self) -> str | None:
        """Return the first sheet that is not proven yet, or None where none ever was."""
        item = self._client.get_item(TableName=self._balances, Key=_PROOF, ConsistentRead=True).get("Item", {})
        return item["until"]["S"] if "until" in item else None  # pyright: ignore[reportTypedDictNotRequiredAccess]

    def carry(self, sums: Mapping[Currency, Balances], before: str | None, after: str) -> bool:
        """Add the balances of what is proven to those carried, and move the mark of what is proven from one sheet to another.

        Returns False, and changes nothing, where the mark was moved by somebody else.

        Raises:
            Contention: other transactions kept getting in the way.
        """
        adds = [self._add(_CARRIED, currency, one.accounts, one.entries) for currency, one in sums.items()]
        return self._refused([self._mark(before, after), *adds]) is None

    def _refused(self, writes: list[TransactWriteItemTypeDef]) -> dict[str, Any] | None:
        """Write all or nothing, and return None, or why not where the condition of the first write does not hold."""
        for attempt in range(_ATTEMPTS):
            try:
                self._client.transact_write_items(TransactItems=writes)
            except self._client.exceptions.TransactionCanceledException as cancelled:
                first, *others = _reasons(cancelled)
                if first.get("Code") == "ConditionalCheckFailed":
                    return first
                if not any(reason.get("Code") == "TransactionConflict" for reason in (first, *others)):
                    raise
                _wait(attempt)
            else:
                return None
        raise Contention

    def _put(self, entry: Entry, sheet: str, now: datetime) -> TransactWriteItemTypeDef:
        return {
            "Put": {
                "TableName": self._entries,
                "Item": {
                    "event_id": {"S": entry.event_id},
                    "order_id": {"S": entry.order_id},
                    "type": {"S": entry.type},
                    "occurred_at": {"S": timestamp(entry.occurred_at)},
                    "posted_at": {"S": timestamp(now)},
                    "sheet": {"S": sheet},
                    "currency": {"S": entry.amount.currency},
                    "amount": {"N": str(entry.amount.amount)},
                    "postings": {"L": [_posting(posting) for posting in entry.postings]},
                },
                "ConditionExpression": "attribute_not_exists(event_id)",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _add(self, sheet: str, currency: str, accounts: Mapping[str, int], entries: int) -> TransactWriteItemTypeDef:
        moved = {account: amount for account, amount in accounts.items() if amount}
        update: Any = {
            "TableName": self._balances,
            "Key": {"sheet": {"S": sheet}, "currency": {"S": currency}},
            "UpdateExpression": ", ".join(["ADD entries :entries", *(f"#{account} :{account}" for account in moved)]),
            "ExpressionAttributeValues": {":entries": {"N": str(entries)}, **{f":{name}": {"N": str(moved[name])} for name in moved}},
        }
        if moved:
            update["ExpressionAttributeNames"] = {f"#{account}": account for account in moved}
        return {"Update": update}

    def _mark(self, before: str | None, after: str) -> TransactWriteItemTypeDef:
        values = {":after": {"S": after}, **({":before": {"S": before}} if before else {})}
        return {
            "Update": {
                "TableName": self._balances,
                "Key": _PROOF,
                "UpdateExpression": "SET #until = :after",
                "ConditionExpression": "#until = :before" if before else "attribute_not_exists(#until)",
                "ExpressionAttributeNames": {"#until": "until"},
                "ExpressionAttributeValues": values,
            }
        }

    def _query(self, key: str, value: str, **more: Any) -> Iterator[Entry]:
        pages = self._pages(
            TableName=self._entries,
            KeyConditionExpression=f"{key} = :value",
            ExpressionAttributeValues={":value": {"S": value}},
            **more,
        )
        return (_entry_of(item) for item in pages)

    def _pages(self, **request: Any) -> Iterator[dict[str, Any]]:
        while True:
            page = self._client.query(**request)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def added(some: Iterable[Mapping[Currency, Balances]]) -> dict[Currency, Balances]:
    """Return balances added up by currency."""
    accounts: dict[Currency, Counter[str]] = {}
    entries = Counter[str]()
    for currency, one in (pair for balances in some for pair in balances.items()):
        accounts.setdefault(currency, Counter()).update(one.accounts)
        entries[currency] += one.entries
    return {currency: Balances(accounts[currency], entries[currency]) for currency in accounts}


def _known(entry: Entry, item: Mapping[str, Any]) -> bool:
    there = _entry_of(item)
    if (there.type, there.amount) != (entry.type, entry.amount):
        message = f"{entry.event_id} was posted as {there.type}, not as {entry.type}, or with another amount"
        raise Contradiction(message)
    return False


def _posting(posting: Posting) -> dict[str, Any]:
    return {"M": {"account": {"S": posting.account}, "amount": {"N": str(posting.amount)}}}


def _entry_of(item: Mapping[str, Any]) -> Entry:
    return Entry(
        event_id=item["event_id"]["S"],
        order_id=item["order_id"]["S"],
        type=item["type"]["S"],
        occurred_at=datetime.fromisoformat(item["occurred_at"]["S"]),
        amount=Money(int(item["amount"]["N"]), item["currency"]["S"]),
        postings=tuple(Posting(one["M"]["account"]["S"], int(one["M"]["amount"]["N"])) for one in item["postings"]["L"]),
    )


def _balances_of(item: Mapping[str, Any]) -> Balances:
    return Balances({account: int(item[account]["N"]) for account in ACCOUNTS if account in item}, int(item["entries"]["N"]))


def _reasons(cancelled: ClientError) -> list[dict[str, Any]]:
    return cancelled.response.get("CancellationReasons", [])  # pyright: ignore[reportReturnType]


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0.01, 0.05) * (attempt + 1))  # noqa: S311 - jitter, not a secret
