"""Routes payments to one of several providers: a feature flag chooses the provider of new payments.

The choice is stored before the first request and never changes. So a retry under other flags, a capture weeks later and
a void of an unrecorded authorization all go to the same provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import HTTPClientError
from msgspec import Struct

from orderflow.aws import dynamodb
from orderflow.aws.observability import logger
from payments.provider import Capture, Payment, PaymentProvider, ProviderUnavailable, Refund

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date

    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.domain.money import Money
    from payments.domain.webhook_events import WebhookEvent


class PaymentFlags(Struct, frozen=True):
    """The feature flags of the payments context; an empty provider means the stack's."""

    payment_provider: str = ""


def parse_flags(document: bytes) -> PaymentFlags:
    """Parse the flags from JSON.

    Raises:
        msgspec.DecodeError: the document is not JSON, or the provider is not a string.
    """
    return msgspec.json.decode(document, type=PaymentFlags)


class PaymentRoutes:
    """The table of payment routes: the provider of each payment, written once."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Use the table named `table`."""
        self._table = table
        self._client = client

    def of(self, payment_key: str) -> str | None:
        """Return the name of the payment's provider, or None if the payment has no route.

        Raises:
            ProviderUnavailable: the table did not answer.
        """
        try:
            item = dynamodb.read_item(self._client, self._table, dynamodb.key(key=payment_key))
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost
        return item["provider"] if item else None

    def claim(self, payment_key: str, provider: str) -> str:
        """Assign the payment to a provider unless it has one, and return its provider.

        Raises:
            ProviderUnavailable: the table did not answer; no provider was called.
        """
        try:
            self._client.put_item(
                TableName=self._table,
                Item=dynamodb.encode_item({"key": payment_key, "provider": provider}),
                ConditionExpression="attribute_not_exists(provider)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            return dynamodb.stored_item(refused)["provider"]
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost
        return provider


class ProviderRouter:
    """A PaymentProvider that forwards each request to the payment's provider."""

    def __init__(
        self, providers: Mapping[str, PaymentProvider], default: str, flags: Callable[[], PaymentFlags], routes: PaymentRoutes
    ) -> None:
        """Use these providers by name; `default` is the stack's, which also sends the webhooks."""
        self._providers = providers
        self._default = default
        self._flags = flags
        self._routes = routes

    def authorize(self, key: str, token: str, amount: Money) -> Payment:
        """Authorize at the provider that the flags choose if the payment is new, see PaymentProvider.authorize."""
        return self._owner(key, self._chosen).authorize(key, token, amount)

    def capture(self, payment_key: str, key: str, amount: Money) -> Capture:
        """Capture a part of the payment, see PaymentProvider.capture."""
        return self._owner(payment_key).capture(payment_key, key, amount)

    def void(self, payment_key: str) -> Payment:
        """Void the payment, see PaymentProvider.void; a payment without a provider is voided at the default."""
        return self._owner(payment_key).void(payment_key)

    def refund(self, payment_key: str, key: str, amount: Money) -> Refund:
        """Refund a part of the payment, see PaymentProvider.refund."""
        return self._owner(payment_key).refund(payment_key, key, amount)

    def look_up(self, payment_key: str) -> Payment | None:
        """Return the current payment, see PaymentProvider.look_up."""
        name = self._routes.of(payment_key) or self._knowing(payment_key)
        return self._providers[name].look_up(payment_key) if name else None

    def parse_webhook(self, body: str) -> Sequence[WebhookEvent]:
        """Parse a webhook of the default provider, the only one that the endpoint accepts, see PaymentProvider.parse_webhook."""
        return self._providers[self._default].parse_webhook(body)

    def disputes(self, payment_key: str) -> Sequence[WebhookEvent]:
        """Return the payment's disputes, see PaymentProvider.disputes."""
        name = self._routes.of(payment_key) or self._knowing(payment_key)
        return self._providers[name].disputes(payment_key) if name else ()

    def recent(self, day: date) -> Iterator[str]:
        """Return the keys of a day's payments at every provider, see PaymentProvider.recent."""
        for provider in self._providers.values():
            yield from provider.recent(day)

    def _owner(self, payment_key: str, choose: Callable[[], str] | None = None) -> PaymentProvider:
        name = self._routes.of(payment_key)
        if name is None:
            name = self._knowing(payment_key) or (choose() if choose else self._default)
            name = self._routes.claim(payment_key, name)
        return self._providers[name]

    def _knowing(self, payment_key: str) -> str | None:
        """Return the provider that knows a payment made before routes existed."""
        return next((name for name, provider in self._providers.items() if provider.look_up(payment_key)), None)

    def _chosen(self) -> str:
        name = self._flags().payment_provider or self._default
        if name in self._providers:
            return name
        logger.warning("payment_provider_flag_ignored", provider=name, default=self._default)
        return self._default
