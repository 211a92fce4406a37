"""The AWS clients of the code under test: lent by each test, never real ones.

Functions make their clients once, at import. Here each of them gets a stand-in instead, and a test
decides what is behind it. A call that no test has prepared for fails, so unit tests cannot reach a
network.
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
    """Passes on to whatever client is lent for the service at the time of the call."""

    def __init__(self, service: str) -> None:
        """Stand in for the client of one service."""
        self._service = service

    def __getattr__(self, name: str) -> Any:
        """Return what the lent client has under this name."""
        if self._service not in _lent:
            message = f"{self._service}.{name} was used, but the test lent no client; use the fixture `aws`"
            raise NoClient(message)
        return getattr(_lent[self._service], name)


@cache
def stand_in(service: str) -> StandIn:
    """Return the one stand-in for a service."""
    return StandIn(service)


def install() -> None:
    """Give stand-ins to every module that asks for a client from now on."""
    setattr(orderflow.aws.clients, "client", stand_in)  # noqa: B010 - its type has overloads that a stand-in lacks


def lend(**clients: object) -> None:
    """Put these clients, and no others, behind the stand-ins."""
    _lent.clear()
    _lent.update(clients)
