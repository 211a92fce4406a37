"""The payment providers that exist; PAYMENT_PROVIDER names the one in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


FACTORIES: dict[str, Callable[[], PaymentProvider]] = {"sandbox": _sandbox}


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
