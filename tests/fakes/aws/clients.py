"""Replaces the AWS clients of the code under test.

Functions create their clients once, at import. In tests each client is a stand-in that forwards calls to the client that the test
lends. A call without a lent client fails, so unit tests cannot use a network.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import orderflow.aws.clients

REAL = orderflow.aws.clients.client
_lent: dict[str, object] = {}


class NoClient(AttributeError):
    """The code under test used a service for which the test lent no client."""


class StandIn:
    """Forwards each call to the client that is lent for the service at that time."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        """Return the attribute of the lent client."""
        if self._service not in _lent:
            message = f"{self._service}.{name} was used, but the test lent no client; use the fixture `aws`"
            raise NoClient(message)
        return getattr(_lent[self._service], name)


@cache
def stand_in(service: str) -> StandIn:
    """Return the stand-in of a service."""
    return StandIn(service)


def install() -> None:
    """Give all modules that are imported later stand-ins instead of clients."""
    setattr(orderflow.aws.clients, "client", stand_in)  # noqa: B010 - its type has overloads that a stand-in lacks


def lend(**clients: object) -> None:
    """Make the stand-ins forward to these clients only, by service."""
    _lent.clear()
    _lent.update(clients)
