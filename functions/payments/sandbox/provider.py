"""The sandbox payment provider: a provider with its own table, whose test tokens simulate faults.

| token | result of the authorization |
|---|---|
| `tok_approved` | the amount is authorized |
| `tok_declined`, `tok_insufficient_funds` | declined with `card_declined`, `insufficient_funds` |
| `tok_unsupported`, `tok_wrong_currency` | declined with `payment_method_unsupported_type`, `payment_method_currency_mismatch` |
| `tok_timeout_before` | the first attempt is lost without effect (ProviderTimeout), the next one succeeds |
| `tok_timeout_after` | the amount is authorized, but the answer is lost (ProviderTimeout); the next one arrives |
| `tok_slow` | the amount is authorized after two seconds |
| `tok_unavailable` | ProviderUnavailable, always |
| `tok_capture_…`, `tok_refund_…`, `tok_void_…` | the amount is authorized; the next table has the later requests |
| `tok_expires` | the amount is authorized, but the authorization has expired by the first capture, which is refused as `not_authorized` |
| `tok_refund_pending` | the amount is authorized; refunds are pending until `conclude_refunds` |
| `tok_refund_fails`, `tok_refund_fails_once` | the amount is authorized; all refunds fail, or the first one |
| `tok_refund_fails_later` | the amount is authorized; refunds succeed, and fail with `conclude_refunds` |
| anything else | declined with `invalid_token` |
| any of these, below the minimum of the currency | declined with `amount_too_small` |

| ending | result of a capture, a refund or a void |
|---|---|
| `…_timeout_before` | the first attempt under each key is lost without effect (ProviderTimeout), the next one succeeds |
| `…_timeout_after` | it takes effect, but the answer is lost (ProviderTimeout); the next one arrives |
| `…_unavailable` | ProviderUnavailable, always |

The table stores no tokens, only a digest of the request and the token's simulated fault. Of two concurrent requests one takes
effect and the other sees its result. The index `by-day` lists payments by the days of their first request and of their refunds.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import HTTPClientError

from orderflow.aws import dynamodb
from orderflow.aws.sandbox_table import SandboxTable, Stored
from payments.domain import webhook_events
from payments.provider import Capture, Contradiction, Payment, ProviderRefused, ProviderTimeout, ProviderUnavailable, Refund, Voided
from payments.sandbox import rules
from payments.sandbox.rules import Account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.domain.money import Money

BY_DAY = "by-day"
# Separates payment key and day in the key of an item that lists a payment under the day of a refund.
_DAY_SEPARATOR = "@"


class SandboxProvider:
    """A PaymentProvider whose state is a DynamoDB table."""

    def __init__(self, table: str, client: DynamoDBClient, *, slow_seconds: float = 2) -> None:
        """Work on the table named `table`; `tok_slow` takes `slow_seconds`."""
        self._table = table
        self._client = client
        self._accounts = SandboxTable(
            table,
            client,
            Account,
            key_name="key",
            document_name="account",
            unavailable=ProviderUnavailable,
            timeout=ProviderTimeout,
            first_attributes=_today,
        )
        self._slow_seconds = slow_seconds

    def authorize(self, key: str, token: str, amount: Money) -> Payment:
        """Authorize `amount`, see PaymentProvider.authorize."""
        if token == rules.UNAVAILABLE:
            raise ProviderUnavailable
        if token == rules.SLOW:
            time.sleep(self._slow_seconds)
        before, after = self._accounts.change(key, lambda account: rules.authorize(account, key, token, amount), Stored())
        if after.payment is None or (token == rules.TIMEOUT_AFTER and before is None):
            raise ProviderTimeout
        return after.payment

    def capture(self, payment_key: str, key: str, amount: Money) -> Capture:
        """Capture a part of the payment, see PaymentProvider.capture."""
        after = self._request(payment_key, "capture", lambda account: rules.capture(account, key, amount))
        match rules.find_movement(after, key), after.payment:
            case Capture() as capture, _:
                return capture
            case _, Voided():
                raise ProviderRefused(Contradiction.NOT_AUTHORIZED)
            case _:
                raise ProviderTimeout

    def refund(self, payment_key: str, key: str, amount: Money) -> Refund:
        """Refund a part of the payment, see PaymentProvider.refund."""
        self._list_today(payment_key)
        after = self._request(payment_key, "refund", lambda account: rules.refund(account, key, amount))
        given = rules.find_movement(after, key)
        if not isinstance(given, Refund):
            raise ProviderTimeout
        return given

    def void(self, payment_key: str) -> Payment:
        """Void the payment, see PaymentProvider.void."""
        after = self._request(payment_key, "void", rules.void)
        if after.payment is None or rules.has_uncaptured_amount(after.payment):
            raise ProviderTimeout
        return after.payment

    def expire(self, payment_key: str) -> None:
        """Expire an authorization, as a bank does after about a week; only for tests."""
        self._accounts.change(payment_key, rules.expire)

    def conclude_refunds(self, payment_key: str) -> None:
        """Execute or fail the payment's refunds as a bank does, see `rules.conclude_refunds`; only for tests."""
        self._list_today(payment_key)
        self._accounts.change(payment_key, rules.conclude_refunds)

    def look_up(self, payment_key: str) -> Payment | None:
        """Return the current payment, see PaymentProvider.look_up."""
        account = self._accounts.read(payment_key).document
        return account.payment if account else None

    def parse_webhook(self, body: str) -> list[webhook_events.WebhookEvent]:
        """Return the webhook event of a body, see PaymentProvider.parse_webhook."""
        return [webhook_events.webhook_event_decoder.decode(body)]

    def disputes(self, payment_key: str) -> list[webhook_events.WebhookEvent]:  # noqa: ARG002 - PaymentProvider's signature
        """Return no disputes: the sandbox stores none, and reports them by webhook only."""
        return []

    def recent(self, day: date) -> Iterator[str]:
        """Return the keys of a day's payments, see PaymentProvider.recent."""
        start: dict[str, Any] = {}
        while True:
            page = self._page(day, start)
            yield from (item["key"].partition(_DAY_SEPARATOR)[0] for item in map(dynamodb.decode_item, page["Items"]))
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _list_today(self, payment_key: str) -> None:
        """List a payment under today too, in addition to the day of its first request."""
        today = datetime.now(UTC).date().isoformat()
        try:
            self._client.put_item(
                TableName=self._table, Item=dynamodb.encode_item({"key": f"{payment_key}{_DAY_SEPARATOR}{today}", "day": today})
            )
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost

    def _page(self, day: date, start: dict[str, Any]) -> Any:
        try:
            return self._client.query(
                TableName=self._table,
                IndexName=BY_DAY,
                KeyConditionExpression="#day = :day",
                ExpressionAttributeNames={"#day": "day"},
                ExpressionAttributeValues=dynamodb.values(day=day.isoformat()),
                **start,
            )
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost

    def _request(self, payment_key: str, kind: str, decide: Callable[[Account | None], Account]) -> Account:
        """Change an account and return it, or lose the answer to a change where the token says so."""
        before, after = self._accounts.change(payment_key, decide)
        if after.simulated_fault == f"{kind}_timeout_after" and after != before:
            raise ProviderTimeout
        return after


def _today() -> dict[str, str]:
    return {"day": datetime.now(UTC).date().isoformat()}
