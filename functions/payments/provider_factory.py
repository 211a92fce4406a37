"""The payment providers that exist; PAYMENT_PROVIDER names the stack's. Beside Stripe there is a choice: the sandbox is always set up."""

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


class UnknownProvider(ValueError):
    """PAYMENT_PROVIDER names a provider that does not exist."""


def _sandbox() -> PaymentProvider:
    return SandboxProvider(settings.required("SANDBOX_PAYMENTS_TABLE"), client("dynamodb"))


def _router() -> PaymentProvider:
    from payments.provider_router import PaymentFlags, PaymentRoutes, ProviderRouter, parse_flags  # noqa: PLC0415 - where there is no choice, nothing is paid for one

    def undecided() -> PaymentFlags:
        return PaymentFlags()

    flags = undecided
    if settings.optional("FLAGS", ""):
        from orderflow.aws import flags as feature_flags  # noqa: PLC0415 - as above

        flags = feature_flags.Flags(parse_flags, PaymentFlags())
    routes = PaymentRoutes(settings.required("PAYMENT_ROUTES_TABLE"), client("dynamodb"))
    return ProviderRouter({"stripe": _stripe(), "sandbox": _sandbox()}, "stripe", flags, routes)


def _stripe() -> PaymentProvider:
    from payments.stripe.provider import StripeProvider, create_client  # noqa: PLC0415 - 0.6 s that only its users shall pay

    base = settings.address("STRIPE_API_BASE")
    return StripeProvider(
        lambda: create_client(stripe_secret().api_key, base), settings.required("STRIPE_PAYMENTS_TABLE"), client("dynamodb")
    )


class StripeSecret(Struct, frozen=True):
    """What the secret STRIPE_SECRET_ARN holds, as JSON."""

    api_key: str
    webhook_secret: str = ""


def stripe_secret() -> StripeSecret:
    """Return Stripe's keys as Secrets Manager has them now."""
    answer = client("secretsmanager").get_secret_value(SecretId=settings.required("STRIPE_SECRET_ARN"))
    return msgspec.json.decode(answer["SecretString"], type=StripeSecret)


FACTORIES: dict[str, Callable[[], PaymentProvider]] = {"sandbox": _sandbox, "stripe": _router}


def create_provider(name: str) -> PaymentProvider:
    """Return the provider of that name, set up from the environment; with Stripe it is all that are set up, as one.

    Raises:
        UnknownProvider: there is none of that name.
        MissingSetting: the environment lacks what it needs.
    """
    factory = FACTORIES.get(name)
    if factory is None:
        message = f"PAYMENT_PROVIDER is {name!r}, but has to be one of: {', '.join(sorted(FACTORIES))}"
        raise UnknownProvider(message)
    return factory()
