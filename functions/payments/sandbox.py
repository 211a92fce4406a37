"""The embedded payment provider: behaves as a real one, with a store of its own and test tokens.

| token | what comes of authorizing with it |
|---|---|
| `tok_approved` | the amount is held |
| `tok_declined`, `tok_insufficient_funds` | declined with `card_declined`, `insufficient_funds` |
| `tok_timeout_before` | the first attempt is lost without effect (ProviderTimeout), the next one succeeds |
| `tok_timeout_after` | the amount is held, but the answer is lost (ProviderTimeout); the next one arrives |
| `tok_slow` | the amount is held after two seconds |
| `tok_unavailable` | ProviderUnavailable, always |
| anything else | declined with `invalid_token` |

Tokens are not stored, only a digest of the whole request. Every write names the revision that it
replaces, so of two concurrent requests one takes effect and the other sees what it made.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import HTTPClientError
from msgspec import Struct

from payments import rules
from payments.provider import Capture, Payment, ProviderTimeout, ProviderUnavailable, Refund, Voided
from payments.rules import Account, Movement

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.money import Money

_ATTEMPTS = 10
_accounts = msgspec.json.Decoder(Account)


class Stored(Struct, frozen=True):
    """An account with the number of its revision; revision 0 is a key that nothing is known of."""

    account: Account | None = None
    revision: int = 0


class Sandbox:
    """A PaymentProvider on a DynamoDB table."""

    def __init__(self, table: str, client: DynamoDBClient, *, slow_seconds: float = 2) -> None:
        """Work on the table named `table`; `tok_slow` takes `slow_seconds`."""
        self._table = table
        self._client = client
        self._slow_seconds = slow_seconds

    def authorize(self, key: str, token: str, amount: Money) -> Payment:
        """Hold `amount`, as PaymentProvider.authorize says."""
        if token == rules.UNAVAILABLE:
            raise ProviderUnavailable
        if token == rules.SLOW:
            time.sleep(self._slow_seconds)
        before, after = self._change(key, Stored(), lambda account: rules.authorize(account, key, token, amount))
        if after.payment is None or (token == rules.TIMEOUT_AFTER and before is None):
            raise ProviderTimeout
        return after.payment

    def capture(self, payment_key: str, key: str, amount: Money) -> Capture:
        """Take a part of the payment, as PaymentProvider.capture says."""
        self._move(payment_key, key, Movement("capture", amount))
        return rules.capture_of(key, amount)

    def refund(self, payment_key: str, key: str, amount: Money) -> Refund:
        """Give captured money back, as PaymentProvider.refund says."""
        self._move(payment_key, key, Movement("refund", amount))
        return rules.refund_of(key, amount)

    def void(self, payment_key: str) -> Payment:
        """Give back what is held, as PaymentProvider.void says."""
        _, after = self._change(payment_key, self._read(payment_key), rules.void)
        return after.payment or Voided()

    def look_up(self, payment_key: str) -> Payment | None:
        """Return the payment as it stands now, as PaymentProvider.look_up says."""
        account = self._read(payment_key).account
        return account.payment if account else None

    def _move(self, payment_key: str, key: str, movement: Movement) -> None:
        self._change(payment_key, self._read(payment_key), lambda account: rules.move(account, key, movement))

    def _change(self, key: str, stored: Stored, decide: Callable[[Account | None], Account]) -> tuple[Account | None, Account]:
        """Bring the account to what `decide` makes of it and return it as it was and as it is.

        `stored` may be a guess: a wrong one costs one refused write.

        Raises:
            ProviderTimeout: no answer from the store; the change may have taken effect.
            ProviderUnavailable: others changed the account first in every attempt.
        """
        for _ in range(_ATTEMPTS):
            after = decide(stored.account)
            if after == stored.account:
                return stored.account, after
            there = self._write(key, after, stored.revision)
            if there is None:
                return stored.account, after
            stored = there
        raise ProviderUnavailable

    def _read(self, key: str) -> Stored:
        try:
            answer = self._client.get_item(TableName=self._table, Key={"key": {"S": key}}, ConsistentRead=True)
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost
        return _stored(answer["Item"]) if "Item" in answer else Stored()

    def _write(self, key: str, account: Account, revision: int) -> Stored | None:
        """Replace `revision` and return None, or return what is there when that is another revision."""
        item: dict[str, Any] = {
            "key": {"S": key},
            "revision": {"N": str(revision + 1)},
            "account": {"S": msgspec.json.encode(account).decode()},
        }
        try:
            self._client.put_item(TableName=self._table, Item=item, **_only_over(revision))
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            return _stored(refused.response["Item"])  # pyright: ignore[reportTypedDictNotRequiredAccess, reportGeneralTypeIssues]
        except HTTPClientError as lost:
            raise ProviderTimeout from lost
        return None


def _only_over(revision: int) -> dict[str, Any]:
    condition: dict[str, Any] = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    if revision == 0:
        return {"ConditionExpression": "attribute_not_exists(revision)", **condition}
    return {
        "ConditionExpression": "revision = :revision",
        "ExpressionAttributeValues": {":revision": {"N": str(revision)}},
        **condition,
    }


def _stored(item: Any) -> Stored:
    return Stored(_accounts.decode(item["account"]["S"]), int(item["revision"]["N"]))
