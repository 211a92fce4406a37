"""Routing between two payment providers: a flag chooses for new payments, and a payment stays with its provider."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from orderflow.domain.commands import RecordDispatch
from orderflow.domain.order import remaining
from payments import settlement_service
from payments.dependencies import LOG
from payments.provider import Authorized, PaymentProvider, ProviderTimeout, ProviderUnavailable, Voided
from payments.provider_router import PaymentFlags, PaymentRoutes, ProviderRouter, parse_flags
from payments.sandbox.provider import SandboxProvider
from tests.fakes.aws.dynamodb import Crash, FakeDynamoDB, crash_at
from tests.fakes.aws.environment import TABLES, Aws
from tests.support.prepared import TOKENS, advance, place

KEY = "ord_1:authorize"


class Providers:
    """Providers a and b, each with its own database; `chosen` is the flag."""

    def __init__(self) -> None:
        self.routes = FakeDynamoDB(*TABLES)
        self.databases = {"a": FakeDynamoDB(*TABLES), "b": FakeDynamoDB(*TABLES)}
        self.sandboxes = {
            name: SandboxProvider("SandboxPayments", database.client, slow_seconds=0) for name, database in self.databases.items()
        }
        self.chosen = "a"

    def routed(self) -> ProviderRouter:
        """Return the router of a new function process."""
        providers: dict[str, PaymentProvider] = {**self.sandboxes}
        return ProviderRouter(providers, "a", lambda: PaymentFlags(self.chosen), PaymentRoutes("PaymentRoutes", self.routes.client))

    def holding(self) -> list[str]:
        """Return the providers that hold an authorization of the payment."""
        return [name for name, one in self.sandboxes.items() if isinstance(one.look_up(KEY), Authorized)]

    def having(self) -> list[str]:
        """Return the providers that have the payment."""
        return [name for name, one in self.sandboxes.items() if one.look_up(KEY)]


@pytest.fixture
def providers() -> Providers:
    return Providers()


@pytest.fixture
def order(aws: Aws) -> None:
    """Place and screen an order."""
    place(LOG)
    advance(LOG, "ord_1", "inventory.handlers.reserve_stock", "fraud.handlers.screen_order")


@pytest.mark.parametrize("chosen", ["a", "b"])
@pytest.mark.usefixtures("order")
def test_new_order_is_authorized_by_the_chosen_provider(providers: Providers, chosen: str) -> None:
    providers.chosen = chosen

    assert settlement_service.authorize(LOG, TOKENS, providers.routed(), "ord_1") == "authorized"
    assert providers.having() == [chosen]


@pytest.mark.parametrize("chosen", ["", "paypal"])
@pytest.mark.usefixtures("order")
def test_invalid_choice_uses_the_stacks_provider(providers: Providers, chosen: str, logged: Callable[[], list[dict[str, Any]]]) -> None:
    providers.chosen = chosen

    settlement_service.authorize(LOG, TOKENS, providers.routed(), "ord_1")

    assert providers.holding() == ["a"]
    warnings = [line for line in logged() if line["level"] == "WARNING"]
    assert [(line["provider"], line["default"]) for line in warnings] == ([("paypal", "a")] if chosen else [])


@pytest.mark.parametrize("operation", ["GetItem", "PutItem"])
@pytest.mark.parametrize("where", ["routes", "a", "b"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.usefixtures("order")
def test_crashed_authorization_is_retried_with_the_same_provider(providers: Providers, operation: str, where: str, moment: str) -> None:
    database = providers.routes if where == "routes" else providers.databases[where]
    setattr(database, moment, crash_at(operation))
    crashed = True
    try:
        settlement_service.authorize(LOG, TOKENS, providers.routed(), "ord_1")
        crashed = False
    except Crash:
        pass
    setattr(database, moment, None)
    claimed = PaymentRoutes("PaymentRoutes", providers.routes.client).of(KEY)
    providers.chosen = "b"

    assert settlement_service.authorize(LOG, TOKENS, providers.routed(), "ord_1") == "authorized"
    assert providers.holding() == [claimed or "b"]
    assert providers.having() == providers.holding()
    assert crashed or claimed == "a"


@pytest.mark.usefixtures("order")
def test_lost_answer_is_looked_up_at_the_same_provider(providers: Providers) -> None:
    place(LOG, "ord_lost", payment_token="tok_timeout_after")
    advance(LOG, "ord_lost", "inventory.handlers.reserve_stock", "fraud.handlers.screen_order")
    providers.chosen = "b"

    assert settlement_service.authorize(LOG, TOKENS, providers.routed(), "ord_lost") == "authorized"
    assert providers.sandboxes["a"].look_up("ord_lost:authorize") is None


@pytest.mark.usefixtures("order")
def test_later_requests_go_to_the_payments_provider(providers: Providers) -> None:
    providers.chosen = "b"
    settlement_service.authorize(LOG, TOKENS, providers.routed(), "ord_1")
    advance(LOG, "ord_1", "orders.handlers.confirm_order")
    providers.chosen = "a"
    order = LOG.load("ord_1")
    LOG.record(order, RecordDispatch("parcel_1", remaining(order)), source="shipping")

    settled = settlement_service.settle(LOG, providers.routed(), "ord_1")

    held = providers.sandboxes["b"].look_up(KEY)
    assert isinstance(held, Authorized)
    assert held.captured == settled.captured > 0
    assert providers.having() == ["b"]


@pytest.mark.usefixtures("order")
def test_unrecorded_payment_is_voided_at_its_provider(providers: Providers) -> None:
    providers.chosen = "b"
    providers.routed().authorize(KEY, "tok_approved", LOG.load("ord_1").total)
    providers.chosen = "a"
    advance(LOG, "ord_1", "orders.handlers.record_failure")

    assert settlement_service.void(LOG, providers.routed(), "ord_1") == "voided"
    assert isinstance(providers.sandboxes["b"].look_up(KEY), Voided)
    assert providers.having() == ["b"]


@pytest.mark.usefixtures("order")
def test_authorization_after_its_void_holds_nothing(providers: Providers) -> None:
    providers.routed().void(KEY)
    providers.chosen = "b"

    assert isinstance(providers.routed().authorize(KEY, "tok_approved", LOG.load("ord_1").total), Voided)
    assert providers.holding() == []


@pytest.mark.usefixtures("order")
def test_concurrent_authorizations_use_one_provider(providers: Providers) -> None:
    """Another process claims the payment between lookup and claim."""

    def other(operation: str, _parameters: Any) -> None:
        if operation == "PutItem":
            providers.routes.before = None
            providers.chosen = "b"
            settlement_service.authorize(LOG, TOKENS, providers.routed(), "ord_1")

    first = providers.routed()
    providers.routes.before = other

    first.authorize(KEY, "tok_approved", LOG.load("ord_1").total)
    assert providers.having() == ["b"]


@pytest.mark.parametrize("holder", ["a", "b"])
@pytest.mark.usefixtures("order")
def test_payment_without_route_stays_with_the_stacks_provider(providers: Providers, holder: str) -> None:
    total = LOG.load("ord_1").total
    providers.sandboxes[holder].authorize(KEY, "tok_approved", total)
    providers.chosen = "b" if holder == "a" else "a"
    routed = providers.routed()

    assert isinstance(routed.look_up(KEY), Authorized)
    routed.authorize(KEY, "tok_approved", total)
    routed.capture(KEY, "ord_1:capture:parcel_1", total)
    routed.refund(KEY, "ord_1:refund:parcel_1", total)
    assert providers.having() == [holder]


def test_unknown_payment_causes_no_provider_request(providers: Providers) -> None:
    assert providers.routed().look_up(KEY) is None
    assert providers.routes.items("PaymentRoutes") == []


@pytest.mark.usefixtures("order")
def test_payments_of_a_day_include_every_provider(providers: Providers) -> None:
    total = LOG.load("ord_1").total
    for name in ("a", "b"):
        providers.sandboxes[name].authorize(f"ord_{name}:authorize", "tok_approved", total)

    assert sorted(providers.routed().recent(datetime.now(UTC).date())) == ["ord_a:authorize", "ord_b:authorize"]


@pytest.mark.usefixtures("order")
@pytest.mark.parametrize("operation", ["GetItem", "PutItem"])
def test_unreadable_route_causes_no_provider_request(providers: Providers, operation: str) -> None:
    def lost(made: str, _parameters: Any) -> None:
        if made == operation:
            raise ReadTimeoutError(endpoint_url="https://dynamodb.invalid")

    providers.routes.before = lost
    with pytest.raises(ProviderUnavailable) as refused:
        providers.routed().authorize(KEY, "tok_approved", LOG.load("ord_1").total)
    assert not isinstance(refused.value, ProviderTimeout)
    assert providers.having() == []


def test_foreign_flags_are_ignored() -> None:
    assert parse_flags(b'{"payment_provider": "b", "fraud": {"hold_score": -1}}') == PaymentFlags("b")
    assert parse_flags(b"{}") == PaymentFlags()
