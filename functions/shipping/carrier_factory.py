"""Creates the carrier that the setting CARRIER names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderflow.aws import settings
from orderflow.aws.clients import client
from shipping.sandbox.carrier import SandboxCarrier

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipping.carrier import Carrier


def _sandbox() -> Carrier:
    return SandboxCarrier(settings.required("SANDBOX_SHIPMENTS_TABLE"), client("dynamodb"))


FACTORIES: dict[str, Callable[[], Carrier]] = {"sandbox": _sandbox}


def create_carrier() -> Carrier:
    """Return the carrier that CARRIER names, configured from the environment.

    Raises:
        MissingSetting: the environment lacks a required setting, or names an unknown carrier.
    """
    return settings.selected("CARRIER", FACTORIES)()
