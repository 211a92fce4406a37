"""The table LedgerBalances: what the proof carries.

It holds, by currency, what the entries of each proven sheet came to when it was proven, under the sheet `carried` what all of
them come to, and under `proof` how far they go. The proof alone writes here, all of it in one transaction.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ledger.domain.posting_rules import ACCOUNTS
from orderflow.aws.dynamodb import TransactionConflict
from orderflow.domain.money import Currency

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

_CLOSED = "carried"
_POSITION = {"sheet": {"S": "proof"}, "currency": {"S": "-"}}
_ATTEMPTS = 5


class Balances(Struct, frozen=True):
    """What each account comes to in minor units, and of how many entries."""

    accounts: Mapping[str, int]
    entries: int


ZERO = Balances({}, 0)

type ByCurrency = Mapping[Currency, Balances]


class BalanceStore:
    """Writes and reads balances."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def of_shard(self, sheet: str) -> dict[Currency, Balances]:
        """Return what is carried of a sheet by currency: nothing while it is not proven."""
        return {item["currency"]["S"]: _balances_of(item) for item in self._rows(sheet)}

    def closed(self) -> dict[Currency, Balances]:
        """Return what all proven sheets come to, by currency."""
        return self.of_shard(_CLOSED)

    def next_shard(self) -> str | None:
        """Return the first sheet that is not proven yet, or None where none ever was."""
        item = self._client.get_item(TableName=self._table, Key=_POSITION, ConsistentRead=True).get("Item", {})
        return item["until"]["S"] if "until" in item else None  # pyright: ignore[reportTypedDictNotRequiredAccess]

    def closed_at_once(self) -> tuple[str | None, dict[Currency, Balances]]:
        """Return the first sheet that is not proven yet and what all those before it come to, as of one moment.

        Raises:
            TransactionConflict: other proofs kept getting in the way.
        """
        for _ in range(_ATTEMPTS):
            mark, carried = self.next_shard(), self.closed()
            if mark == self.next_shard():
                return mark, carried
        raise TransactionConflict

    def close_period(self, sheets: Mapping[str, ByCurrency], change: ByCurrency, before: str | None, after: str) -> bool:
        """Write down what sheets come to, add the change to what is carried, and move the mark from one sheet to another.

        Returns False, and changes nothing, where the mark was moved by somebody else.

        Raises:
            TransactionConflict: other transactions kept getting in the way.
        """
        rows = [self._set(sheet, currency, one) for sheet, sums in sheets.items() for currency, one in sums.items()]
        adds = [self._add(currency, one) for currency, one in change.items()]
        return self._write([self._advance(before, after), *rows, *adds])

    def _write(self, writes: list[TransactWriteItemTypeDef]) -> bool:
        """Write all or nothing; False where the condition of the first write does not hold."""
        for attempt in range(_ATTEMPTS):
            try:
                self._client.transact_write_items(TransactItems=writes)
            except self._client.exceptions.TransactionCanceledException as cancelled:
                codes = [reason.get("Code") for reason in _reasons(cancelled)]
                if codes[0] == "ConditionalCheckFailed":
                    return False
                if "TransactionConflict" not in codes:
                    raise
                _wait(attempt)
            else:
                return True
        raise TransactionConflict

    def _add(self, currency: str, change: Balances) -> TransactWriteItemTypeDef:
        moved = {account: amount for account, amount in change.accounts.items() if amount}
        return self._update(
            _CLOSED, currency, "ADD " + ", ".join(f"#{name} :{name}" for name in ("entries", *moved)), moved, change.entries
        )

    def _set(self, sheet: str, currency: str, sums: Balances) -> TransactWriteItemTypeDef:
        accounts = {account: sums.accounts.get(account, 0) for account in ACCOUNTS}
        return self._update(
            sheet, currency, "SET " + ", ".join(f"#{name} = :{name}" for name in ("entries", *accounts)), accounts, sums.entries
        )

    def _update(self, sheet: str, currency: str, expression: str, accounts: Mapping[str, int], entries: int) -> TransactWriteItemTypeDef:
        values = {"entries": entries, **accounts}
        return {
            "Update": {
                "TableName": self._table,
                "Key": {"sheet": {"S": sheet}, "currency": {"S": currency}},
                "UpdateExpression": expression,
                "ExpressionAttributeNames": {f"#{name}": name for name in values},
                "ExpressionAttributeValues": {f":{name}": {"N": str(amount)} for name, amount in values.items()},
            }
        }

    def _advance(self, before: str | None, after: str) -> TransactWriteItemTypeDef:
        values = {":after": {"S": after}, **({":before": {"S": before}} if before else {})}
        return {
            "Update": {
                "TableName": self._table,
                "Key": _POSITION,
                "UpdateExpression": "SET #until = :after",
                "ConditionExpression": "#until = :before" if before else "attribute_not_exists(#until)",
                "ExpressionAttributeNames": {"#until": "until"},
                "ExpressionAttributeValues": values,
            }
        }

    def _rows(self, sheet: str) -> Iterator[dict[str, Any]]:
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "sheet = :sheet",
            "ExpressionAttributeValues": {":sheet": {"S": sheet}},
            "ConsistentRead": True,
        }
        while True:
            page = self._client.query(**request)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def sum_balances(some: Iterable[ByCurrency]) -> dict[Currency, Balances]:
    """Return balances added up by currency."""
    accounts: dict[Currency, Counter[str]] = {}
    entries = Counter[str]()
    for currency, one in (pair for balances in some for pair in balances.items()):
        accounts.setdefault(currency, Counter()).update(one.accounts)
        entries[currency] += one.entries
    return {currency: Balances(accounts[currency], entries[currency]) for currency in accounts}


def negated(sums: ByCurrency) -> dict[Currency, Balances]:
    """Return balances that come to zero together with these."""
    return {
        currency: Balances({account: -amount for account, amount in one.accounts.items()}, -one.entries) for currency, one in sums.items()
    }


def _balances_of(item: Mapping[str, Any]) -> Balances:
    return Balances({account: int(item[account]["N"]) for account in ACCOUNTS if account in item}, int(item["entries"]["N"]))


def _reasons(cancelled: ClientError) -> list[dict[str, Any]]:
    return cancelled.response.get("CancellationReasons", [])  # pyright: ignore[reportReturnType]


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0.01, 0.05) * (attempt + 1))  # noqa: S311 - jitter, not a secret
