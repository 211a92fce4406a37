"""The table LedgerBalances: the closed balances of the ledger.

It holds, by currency, the balances of each closed period shard, their sum under the key `carried`, and under the key `proof` the
first period shard that is not closed. Only the audit writes here, each time in one transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ledger.domain.posting_rules import ACCOUNTS
from orderflow.aws.dynamodb import ATTEMPTS, Conflict, TransactionConflict, key, read_item, read_items, transact, values
from orderflow.domain.money import Currency

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

_CLOSED = "carried"
_POSITION = key(sheet="proof", currency="-")


class Balances(Struct, frozen=True):
    """The sum of each account in minor units, and the number of entries."""

    accounts: Mapping[str, int]
    entries: int


ZERO = Balances({}, 0)

type ByCurrency = Mapping[Currency, Balances]


class BalanceStore:
    """Reads and writes closed balances."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def of_shard(self, shard: str) -> dict[Currency, Balances]:
        """Return the closed balances of a period shard by currency; empty if the shard is not closed."""
        request: Any = {
            "TableName": self._table,
            "KeyConditionExpression": "sheet = :shard",
            "ExpressionAttributeValues": values(shard=shard),
            "ConsistentRead": True,
        }
        return {item["currency"]: _balances_of(item) for item in read_items(self._client.query, **request)}

    def closed(self) -> dict[Currency, Balances]:
        """Return the sum of all closed period shards by currency."""
        return self.of_shard(_CLOSED)

    def next_shard(self) -> str | None:
        """Return the first period shard that is not closed, or None before the first audit."""
        return (read_item(self._client, self._table, _POSITION) or {}).get("until")

    def closed_at_once(self) -> tuple[str | None, dict[Currency, Balances]]:
        """Return the first period shard that is not closed and the sum of those before it, as of one moment.

        Raises:
            TransactionConflict: other audits closed periods during every attempt.
        """
        for _ in range(ATTEMPTS):
            position, closed = self.next_shard(), self.closed()
            if position == self.next_shard():
                return position, closed
        raise TransactionConflict

    def close_period(self, shards: Mapping[str, ByCurrency], change: ByCurrency, before: str | None, after: str) -> bool:
        """Write the balances of period shards, add `change` to the closed sum, and advance the position from `before` to `after`.

        Returns False, and changes nothing, if another audit advanced the position first.

        Raises:
            TransactionConflict: other transactions held the balances in every attempt.
        """
        rows = [self._set(shard, currency, one) for shard, sums in shards.items() for currency, one in sums.items()]
        adds = [self._add(currency, one) for currency, one in change.items()]
        try:
            transact(self._client, [self._advance(before, after), *rows, *adds], own=1)
        except Conflict:
            return False
        return True

    def _add(self, currency: str, change: Balances) -> TransactWriteItemTypeDef:
        accounts = {account: amount for account, amount in change.accounts.items() if amount}
        names = ("entries", *accounts)
        return self._update(_CLOSED, currency, "ADD " + ", ".join(f"#{name} :{name}" for name in names), accounts, change.entries)

    def _set(self, shard: str, currency: str, sums: Balances) -> TransactWriteItemTypeDef:
        accounts = {account: sums.accounts.get(account, 0) for account in ACCOUNTS}
        names = ("entries", *accounts)
        return self._update(shard, currency, "SET " + ", ".join(f"#{name} = :{name}" for name in names), accounts, sums.entries)

    def _update(self, shard: str, currency: str, expression: str, accounts: Mapping[str, int], entries: int) -> TransactWriteItemTypeDef:
        amounts = {"entries": entries, **accounts}
        return {
            "Update": {
                "TableName": self._table,
                "Key": key(sheet=shard, currency=currency),
                "UpdateExpression": expression,
                "ExpressionAttributeNames": {f"#{name}": name for name in amounts},
                "ExpressionAttributeValues": values(**amounts),
            }
        }

    def _advance(self, before: str | None, after: str) -> TransactWriteItemTypeDef:
        return {
            "Update": {
                "TableName": self._table,
                "Key": _POSITION,
                "UpdateExpression": "SET #until = :after",
                "ConditionExpression": "#until = :before" if before else "attribute_not_exists(#until)",
                "ExpressionAttributeNames": {"#until": "until"},
                "ExpressionAttributeValues": values(after=after, before=before) if before else values(after=after),
            }
        }


def sum_balances(some: Iterable[ByCurrency]) -> dict[Currency, Balances]:
    """Return the sum of balances by currency."""
    accounts: dict[Currency, Counter[str]] = {}
    entries = Counter[str]()
    for currency, one in (pair for balances in some for pair in balances.items()):
        accounts.setdefault(currency, Counter()).update(one.accounts)
        entries[currency] += one.entries
    return {currency: Balances(accounts[currency], entries[currency]) for currency in accounts}


def negated(sums: ByCurrency) -> dict[Currency, Balances]:
    """Return balances with all signs changed."""
    return {
        currency: Balances({account: -amount for account, amount in one.accounts.items()}, -one.entries) for currency, one in sums.items()
    }


def _balances_of(item: Mapping[str, Any]) -> Balances:
    return Balances({account: item[account] for account in ACCOUNTS if account in item}, item["entries"])
