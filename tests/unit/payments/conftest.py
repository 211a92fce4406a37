"""An order of a mug and filters, and the provider that holds its money."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orderflow.commands import Command
from orderflow.order import Order
from payments import notice, reconcile, service, settle, void
from payments.sandbox import Sandbox
from tests.support.prepared import TOKENS, advance, place

LOG = settle.LOG
type Confirmed = Callable[..., Order]


@pytest.fixture
def sandbox(aws: Any, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The provider behind every handler."""
    provider = Sandbox("SandboxPayments", aws.dynamodb.client, slow_seconds=0)
    for module in (settle, void, notice, reconcile):
        monkeypatch.setattr(module, "PROVIDER", provider)
    return provider


@pytest.fixture
def record(sandbox: Sandbox) -> Callable[..., Order]:
    """Record commands on the order ord_1 and return it."""

    def recorded(*commands: Command) -> Order:
        order = LOG.load("ord_1")
        for command in commands:
            order = LOG.record(order, command, source="shipping")
        return order

    return recorded


@pytest.fixture
def confirmed(sandbox: Sandbox, record: Callable[..., Order]) -> Confirmed:
    """Bring the order to its confirmation, and record what commands say of it then."""

    def brought(*commands: Command, token: str = "tok_approved") -> Order:
        place(LOG, payment_token=token, lines={"MUG-BLUE": 1, "FILTER-100": 1})
        advance(LOG, "ord_1", "inventory.reserve", "fraud.screen")
        service.authorize(LOG, TOKENS, sandbox, "ord_1")
        advance(LOG, "ord_1", "orders.confirm")
        return record(*commands)

    return brought
