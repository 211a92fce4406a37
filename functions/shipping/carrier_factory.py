"""Creates the carrier that the setting CARRIER names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws import settings
from orderflow.aws.clients import client
from shipping.sandbox.carrier import SandboxCarrier

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipping.carrier import Carrier


class UnknownCarrier(ValueError):
    """CARRIER names an unknown carrier."""


def _sandbox() -> Carrier:
    return SandboxCarrier(settings.required("SANDBOX_SHIPMENTS_TABLE"), client("dynamodb"))


FACTORIES: dict[str, Callable[[], Carrier]] = {"sandbox": _sandbox}


def create_carrier(name: str) -> Carrier:
    """Return the carrier of this name, configured from the environment.

    Raises:
        UnknownCarrier: no carrier has this name.
        MissingSetting: the environment lacks a required setting.
    """
    factory = FACTORIES.get(name)
    if factory is None:
        message = f"CARRIER is {name!r}, it has to be one of: {', '.join(sorted(FACTORIES))}"
        raise UnknownCarrier(message)
    return factory()
