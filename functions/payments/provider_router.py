"""Several payment providers as one: a feature flag says who gets new payments, and each payment stays with who got it.

Which one that is, is written down before the provider is asked for anything, and never changes. So an attempt that is made
again under other flags, a capture after weeks and a void of what nobody recorded all go to the same provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import HTTPClientError
from msgspec import Struct

from orderflow.aws.observability import logger
from payments.provider import Capture, Payment, PaymentProvider, ProviderUnavailable, Refund

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date

    from mypy_boto3_dynamodb import DynamoDBClient

    from orderflow.domain.money import Money
    from payments.domain.webhook_events import WebhookEvent


class PaymentFlags(Struct, frozen=True):
    """What of the feature flags is this context's; without a provider it is the stack's."""

    payment_provider: str = ""


def parse_flags(document: bytes) -> PaymentFlags:
    """Read the flags from JSON.

    Raises:
        msgspec.DecodeError: it is not JSON, or the provider is no text.
    """
    return msgspec.json.decode(document, type=PaymentFlags)


class PaymentRoutes:
    """Which provider has a payment: one row for each, which is written once."""

    def __init__(self, table: str, client: DynamoDBClient) -> None:
        """Work on the DynamoDB table named `table`."""
        self._table = table
        self._client = client

    def of(self, payment_key: str) -> str | None:
        """Return the name of the provider that has the payment, None where that was never said.

        Raises:
            ProviderUnavailable: no answer.
        """
        try:
            answer = self._client.get_item(TableName=self._table, Key={"key": {"S": payment_key}}, ConsistentRead=True)
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost
        return _provider(answer["Item"]) if "Item" in answer else None

    def claim(self, payment_key: str, provider: str) -> str:
        """Give the payment to a provider unless another has it; return who has it now.

        Raises:
            ProviderUnavailable: no answer; nobody was asked for anything.
        """
        try:
            self._client.put_item(
                TableName=self._table,
                Item={"key": {"S": payment_key}, "provider": {"S": provider}},
                ConditionExpression="attribute_not_exists(provider)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            return _provider(refused.response["Item"])  # pyright: ignore[reportTypedDictNotRequiredAccess, reportGeneralTypeIssues]
        except HTTPClientError as lost:
            raise ProviderUnavailable from lost
        return provider


def _provider(item: Any) -> str:
    return item["provider"]["S"]


class ProviderRouter:
    """A PaymentProvider that hands each payment to the one of several that has it."""

    def __init__(
        self, providers: Mapping[str, PaymentProvider], default: str, flags: Callable[[], PaymentFlags], routes: PaymentRoutes
    ) -> None:
        """Know the providers by name; `default` is the stack's, which also sends the messages."""
        self._providers = providers
        self._default = default
        self._flags = flags
        self._routes = routes

    def authorize(self, key: str, token: str, amount: Money) -> Payment:
        """Hold `amount` at the provider that the flags choose, if the payment is new; as PaymentProvider.authorize says."""
        return self._owner(key, self._chosen).authorize(key, token, amount)

    def capture(self, payment_key: str, key: str, amount: Money) -> Capture:
        """Take a part of what the payment holds, as PaymentProvider.capture says."""
        return self._owner(payment_key).capture(payment_key, key, amount)

    def void(self, payment_key: str) -> Payment:
        """Give back what is still held, as PaymentProvider.void says; a payment nobody has yet is closed at the default."""
        return self._owner(payment_key).void(payment_key)

    def refund(self, payment_key: str, key: str, amount: Money) -> Refund:
        """Give captured money back, as PaymentProvider.refund says."""
        return self._owner(payment_key).refund(payment_key, key, amount)

    def look_up(self, payment_key: str) -> Payment | None:
        """Return the payment as it stands now, as PaymentProvider.look_up says."""
        name = self._routes.of(payment_key) or self._knowing(payment_key)
        return self._providers[name].look_up(payment_key) if name else None

    def parse_webhook(self, body: str) -> Sequence[WebhookEvent]:
        """Return what a message of the default provider says, as PaymentProvider.parse_webhook says: the door takes no other's."""
        return self._providers[self._default].parse_webhook(body)

    def disputes(self, payment_key: str) -> Sequence[WebhookEvent]:
        """Return what is known of a payment's disputes, as PaymentProvider.disputes says."""
        name = self._routes.of(payment_key) or self._knowing(payment_key)
        return self._providers[name].disputes(payment_key) if name else ()

    def recent(self, day: date) -> Iterator[str]:
        """Return the keys of a day's payments at every provider, as PaymentProvider.recent says."""
        for provider in self._providers.values():
            yield from provider.recent(day)

    def _owner(self, payment_key: str, choose: Callable[[], str] | None = None) -> PaymentProvider:
        name = self._routes.of(payment_key)
        if name is None:
            name = self._knowing(payment_key) or (choose() if choose else self._default)
            name = self._routes.claim(payment_key, name)
        return self._providers[name]

    def _knowing(self, payment_key: str) -> str | None:
        """Return who has a payment that is from before there was a choice."""
        return next((name for name, provider in self._providers.items() if provider.look_up(payment_key)), None)

    def _chosen(self) -> str:
        name = self._flags().payment_provider or self._default
        if name in self._providers:
            return name
        logger.warning("the flags choose a payment provider that is not set up", chosen=name, instead=self._default)
        return self._default
