"""The payment providers that exist; PAYMENT_PROVIDER names the one in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from orderflow import settings
from orderflow.clients import client
from payments.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from payments.provider import PaymentProvider


class UnknownProvider(ValueError):
    """PAYMENT_PROVIDER names a provider that does not exist."""


def _sandbox() -> PaymentProvider:
    return Sandbox(settings.required("SANDBOX_PAYMENTS_TABLE"), client("dynamodb"))


def _stripe() -> PaymentProvider:
    from payments.stripe_provider import Stripe, connected  # noqa: PLC0415 - 0.6 s that only its users shall pay

    base = settings.required("STRIPE_API_BASE")
    return Stripe(lambda: connected(stripe_secret().api_key, base), settings.required("STRIPE_PAYMENTS_TABLE"), client("dynamodb"))


class StripeSecret(Struct, frozen=True):
    """What the secret STRIPE_SECRET_ARN holds, as JSON."""

    api_key: str
    webhook_secret: str = ""


def stripe_secret() -> StripeSecret:
    """Return Stripe's keys as Secrets Manager has them now."""
    answer = client("secretsmanager").get_secret_value(SecretId=settings.required("STRIPE_SECRET_ARN"))
    return msgspec.json.decode(answer["SecretString"], type=StripeSecret)


FACTORIES: dict[str, Callable[[], PaymentProvider]] = {"sandbox": _sandbox, "stripe": _stripe}


def provider(name: str) -> PaymentProvider:
    """Return the provider of that name, set up from the environment.

    Raises:
        UnknownProvider: there is none of that name.
        MissingSetting: the environment lacks what it needs.
    """
    factory = FACTORIES.get(name)
    if factory is None:
        message = f"PAYMENT_PROVIDER is {name!r}, but has to be one of: {', '.join(sorted(FACTORIES))}"
        raise UnknownProvider(message)
    return factory()
