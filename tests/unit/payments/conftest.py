"""Fixtures for payments: an order of a mug and filters, and its sandbox provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orderflow.domain.commands import Command
from orderflow.domain.order import Order
from payments import settlement_service
from payments.handlers import process_webhook_event, reconcile_payments, settle_payment, void_payment
from payments.sandbox.provider import SandboxProvider
from tests.support.prepared import TOKENS, advance, place

LOG = settle_payment.LOG
type Confirmed = Callable[..., Order]


@pytest.fixture
def sandbox(aws: Any, monkeypatch: pytest.MonkeyPatch) -> SandboxProvider:
    """Return the provider that every handler uses."""
    provider = SandboxProvider("SandboxPayments", aws.dynamodb.client, slow_seconds=0)
    for module in (settle_payment, void_payment, process_webhook_event, reconcile_payments):
        monkeypatch.setattr(module, "PROVIDER", provider)
    return provider


@pytest.fixture
def record(sandbox: SandboxProvider) -> Callable[..., Order]:
    """Return a function that records commands on order ord_1."""

    def record_all(*commands: Command) -> Order:
        order = LOG.load("ord_1")
        for command in commands:
            order = LOG.record(order, command, source="shipping").order
        return order

    return record_all


@pytest.fixture
def confirmed(sandbox: SandboxProvider, record: Callable[..., Order]) -> Confirmed:
    """Return a function that places and confirms the order, then records commands on it."""

    def confirm(*commands: Command, token: str = "tok_approved") -> Order:
        place(LOG, payment_token=token, lines={"MUG-BLUE": 1, "FILTER-100": 1})
        advance(LOG, "ord_1", "inventory.handlers.reserve_stock", "fraud.handlers.screen_order")
        settlement_service.authorize(LOG, TOKENS, sandbox, "ord_1")
        advance(LOG, "ord_1", "orders.handlers.confirm_order")
        return record(*commands)

    return confirm
