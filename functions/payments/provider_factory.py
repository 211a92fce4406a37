"""Creates the payment provider that PAYMENT_PROVIDER names. With Stripe, a router also offers the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from orderflow.aws import settings
from orderflow.aws.clients import client
from payments.sandbox.provider import SandboxProvider

if TYPE_CHECKING:
    from collections.abc import Callable

    from payments.provider import PaymentProvider


# STRIPE_API_BASE replaces it for tests.
STRIPE_API_BASE = "https://api.stripe.com"


def _sandbox() -> PaymentProvider:
    return SandboxProvider(settings.required("SANDBOX_PAYMENTS_TABLE"), client("dynamodb"))


def _router() -> PaymentProvider:
    from payments.provider_router import PaymentFlags, PaymentRoutes, ProviderRouter, parse_flags  # noqa: PLC0415 - only stacks with a choice pay for the import

    def no_flags() -> PaymentFlags:
        return PaymentFlags()

    flags = no_flags
    if settings.optional("FLAGS", ""):
        from orderflow.aws import flags as feature_flags  # noqa: PLC0415 - as above

        flags = feature_flags.Flags(parse_flags, PaymentFlags())
    routes = PaymentRoutes(settings.required("PAYMENT_ROUTES_TABLE"), client("dynamodb"))
    return ProviderRouter({"stripe": _stripe(), "sandbox": _sandbox()}, "stripe", flags, routes)


def _stripe() -> PaymentProvider:
    from payments.stripe.connection import create_client  # noqa: PLC0415 - only stacks with Stripe pay its 0.6 s
    from payments.stripe.provider import StripeProvider  # noqa: PLC0415 - as above

    base = settings.address("STRIPE_API_BASE", STRIPE_API_BASE)
    return StripeProvider(
        lambda: create_client(stripe_secret().api_key, base), settings.required("STRIPE_PAYMENTS_TABLE"), client("dynamodb")
    )


class StripeSecret(Struct, frozen=True):
    """The JSON document in the secret STRIPE_SECRET_ARN. Other members are ignored, such as `webhook_secret` of version 1.0.0."""

    api_key: str


def stripe_secret() -> StripeSecret:
    """Read Stripe's API key from Secrets Manager."""
    answer = client("secretsmanager").get_secret_value(SecretId=settings.required("STRIPE_SECRET_ARN"))
    return msgspec.json.decode(answer["SecretString"], type=StripeSecret)


FACTORIES: dict[str, Callable[[], PaymentProvider]] = {"sandbox": _sandbox, "stripe": _router}


def create_provider() -> PaymentProvider:
    """Return the provider that PAYMENT_PROVIDER names, configured from the environment; for Stripe, a router over all providers.

    Raises:
        MissingSetting: the environment lacks a required setting, or names an unknown provider.
    """
    return settings.selected("PAYMENT_PROVIDER", FACTORIES)()
