"""The sandbox provider on its table: test tokens, lost answers and concurrent requests."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orderflow.domain.money import Money
from payments.provider import (
    Authorized,
    Capture,
    Contradiction,
    Declined,
    Payment,
    PaymentProvider,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
    Voided,
)
from payments.sandbox.provider import SandboxProvider
from tests.fakes.aws.dynamodb import FakeDynamoDB, Index, Table, answer_lost

TOTAL = Money(2500, "EUR")


@pytest.fixture
def database() -> FakeDynamoDB:
    return FakeDynamoDB(Table("payments", {"key": "S"}, {"by-day": Index({"day": "S", "key": "S"}, "KEYS_ONLY")}))


@pytest.fixture
def provider(database: FakeDynamoDB) -> PaymentProvider:
    return SandboxProvider("payments", database.client, slow_seconds=0)


def held(provider: PaymentProvider, key: str = "key") -> Authorized:
    payment = provider.authorize(key, "tok_approved", TOTAL)
    assert isinstance(payment, Authorized)
    return payment


def test_approved_token_holds_the_amount_in_one_call(provider: PaymentProvider, database: FakeDynamoDB) -> None:
    payment = held(provider)

    assert (payment.amount, payment.captured, payment.refunded) == (TOTAL, 0, 0)
    assert database.calls == {"PutItem": 1}
    assert provider.look_up("key") == payment


def test_same_request_gets_the_same_answer_and_another_is_refused(provider: PaymentProvider) -> None:
    first = held(provider)

    assert held(provider) == first
    with pytest.raises(ProviderRefused) as refused:
        provider.authorize("key", "tok_approved", Money(2501, "EUR"))
    assert refused.value.code == Contradiction.KEY_REUSED
    assert provider.look_up("key") == first


def test_repeated_authorization_stays_declined(provider: PaymentProvider) -> None:
    for _ in range(2):
        assert provider.authorize("key", "tok_declined", TOTAL) == Declined("card_declined")
    assert provider.void("key") == Declined("card_declined")


def test_lost_request_has_no_effect_and_the_retry_succeeds(provider: PaymentProvider) -> None:
    with pytest.raises(ProviderTimeout):
        provider.authorize("key", "tok_timeout_before", TOTAL)
    assert provider.look_up("key") is None

    payment = provider.authorize("key", "tok_timeout_before", TOTAL)

    assert isinstance(payment, Authorized)
    assert provider.look_up("key") == payment


def test_effect_of_a_lost_answer_is_found_by_lookup_and_retry(provider: PaymentProvider) -> None:
    with pytest.raises(ProviderTimeout):
        provider.authorize("key", "tok_timeout_after", TOTAL)

    found = provider.look_up("key")

    assert isinstance(found, Authorized)
    assert provider.authorize("key", "tok_timeout_after", TOTAL) == found


def test_slow_token_delays_the_answer(database: FakeDynamoDB) -> None:
    began = time.monotonic()
    payment = SandboxProvider("payments", database.client, slow_seconds=0.05).authorize("key", "tok_slow", TOTAL)

    assert isinstance(payment, Authorized)
    assert time.monotonic() - began >= 0.05


def test_unavailable_provider_stores_nothing(provider: PaymentProvider, database: FakeDynamoDB) -> None:
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            provider.authorize("key", "tok_unavailable", TOTAL)
    assert database.items("payments") == []


def test_authorization_after_its_void_is_voided(provider: PaymentProvider) -> None:
    assert provider.void("key") == Voided()

    assert provider.authorize("key", "tok_approved", TOTAL) == Voided()
    assert provider.look_up("key") == Voided()


def test_void_after_a_lost_attempt_refuses_later_authorizations(provider: PaymentProvider) -> None:
    with pytest.raises(ProviderTimeout):
        provider.authorize("key", "tok_timeout_before", TOTAL)

    assert provider.void("key") == Voided()
    assert provider.authorize("key", "tok_timeout_before", TOTAL) == Voided()


def test_repeated_void_has_one_effect(provider: PaymentProvider) -> None:
    payment = held(provider)

    assert provider.void("key") == Voided(payment.authorization_id)
    assert provider.void("key") == Voided(payment.authorization_id)


def test_partial_captures_and_refunds_are_added(provider: PaymentProvider) -> None:
    held(provider)

    first = provider.capture("key", "capture-1", Money(1000, "EUR"))
    assert provider.capture("key", "capture-1", Money(1000, "EUR")) == first
    assert provider.capture("key", "capture-2", Money(1500, "EUR")) != first
    provider.refund("key", "refund-1", Money(400, "EUR"))

    payment = provider.look_up("key")
    assert isinstance(payment, Authorized)
    assert (payment.captured, payment.refunded) == (2500, 400)
    assert [capture.key for capture in payment.captures] == ["capture-1", "capture-2"]
    assert [refund.key for refund in payment.refunds] == ["refund-1"]


def test_rest_is_voided_after_captures_and_captures_are_refundable(provider: PaymentProvider) -> None:
    payment = held(provider)
    capture = provider.capture("key", "capture-1", Money(1000, "EUR"))

    assert provider.void("key") == Voided(payment.authorization_id, captures=(capture,))
    assert provider.void("key") == Voided(payment.authorization_id, captures=(capture,))
    with pytest.raises(ProviderRefused, match="not_authorized"):
        provider.capture("key", "capture-2", Money(1, "EUR"))
    refund = provider.refund("key", "refund-1", Money(1000, "EUR"))
    assert provider.look_up("key") == Voided(payment.authorization_id, captures=(capture,), refunds=(refund,))


def moves(provider: PaymentProvider) -> dict[str, Callable[[], object]]:
    return {
        "capture": lambda: provider.capture("key", "capture-2", Money(500, "EUR")),
        "refund": lambda: provider.refund("key", "refund-1", Money(500, "EUR")),
        "void": lambda: provider.void("key"),
    }


@pytest.mark.parametrize("kind", ["capture", "refund", "void"])
def test_lost_first_attempt_has_no_effect_and_the_retry_succeeds(kind: str, provider: PaymentProvider) -> None:
    provider.authorize("key", f"tok_{kind}_timeout_before", TOTAL)
    with contextlib.suppress(ProviderTimeout):
        provider.capture("key", "capture-1", Money(1000, "EUR"))
    provider.capture("key", "capture-1", Money(1000, "EUR"))
    before = provider.look_up("key")

    with pytest.raises(ProviderTimeout):
        moves(provider)[kind]()
    assert provider.look_up("key") == before

    moves(provider)[kind]()
    assert provider.look_up("key") != before


@pytest.mark.parametrize("kind", ["capture", "refund", "void"])
def test_effect_with_lost_answer_is_found_by_lookup_and_retry(kind: str, provider: PaymentProvider) -> None:
    provider.authorize("key", f"tok_{kind}_timeout_after", TOTAL)
    with contextlib.suppress(ProviderTimeout):
        provider.capture("key", "capture-1", Money(1000, "EUR"))
    before = provider.look_up("key")

    with pytest.raises(ProviderTimeout):
        moves(provider)[kind]()
    after = provider.look_up("key")
    assert after != before

    moves(provider)[kind]()
    assert provider.look_up("key") == after


@pytest.mark.parametrize("kind", ["capture", "refund", "void"])
def test_refused_request_has_no_effect(kind: str, provider: PaymentProvider) -> None:
    provider.authorize("key", f"tok_{kind}_unavailable", TOTAL)
    with contextlib.suppress(ProviderUnavailable):
        provider.capture("key", "capture-1", Money(1000, "EUR"))
    before = provider.look_up("key")

    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            moves(provider)[kind]()
    assert provider.look_up("key") == before


def test_expired_authorization_cannot_be_captured(provider: PaymentProvider) -> None:
    provider.authorize("key", "tok_expires", TOTAL)

    for _ in range(2):
        with pytest.raises(ProviderRefused, match="not_authorized"):
            provider.capture("key", "capture-1", Money(1000, "EUR"))
    assert isinstance(provider.look_up("key"), Voided)


def test_payments_of_a_day_are_listed_in_every_state(provider: PaymentProvider) -> None:
    held(provider, "one")
    provider.capture("one", "capture-1", TOTAL)
    provider.authorize("two", "tok_declined", TOTAL)
    today = datetime.now(UTC).date()

    assert set(provider.recent(today)) == {"one", "two"}
    assert list(provider.recent(today - timedelta(days=1))) == []


def test_concurrent_requests_with_one_key_make_one_authorization(provider: PaymentProvider, database: FakeDynamoDB) -> None:
    with ThreadPoolExecutor(8) as pool:
        payments = list(pool.map(lambda _: provider.authorize("key", "tok_approved", TOTAL), range(40)))

    assert len(set(payments)) == 1
    [item] = database.items("payments")
    assert item["revision"] == {"N": "1"}


def test_concurrent_authorize_and_void_leave_nothing_held(database: FakeDynamoDB) -> None:
    provider = SandboxProvider("payments", database.client)
    for number in range(20):
        key = f"key-{number}"
        with ThreadPoolExecutor(2) as pool:
            pool.submit(provider.authorize, key, "tok_approved", TOTAL)
            voided: Payment = pool.submit(provider.void, key).result()
        assert isinstance(voided, Voided)
        assert provider.look_up(key) == voided


def test_concurrent_captures_never_exceed_the_authorization(provider: PaymentProvider) -> None:
    held(provider)

    def capture(number: int) -> Capture | None:
        try:
            return provider.capture("key", f"capture-{number}", Money(1000, "EUR"))
        except ProviderRefused:
            return None

    with ThreadPoolExecutor(4) as pool:
        captures = [capture for capture in pool.map(capture, range(4)) if capture]

    assert len(captures) == 2
    assert getattr(provider.look_up("key"), "captured", None) == 2000


def test_persistent_conflict_is_unavailability(provider: PaymentProvider, database: FakeDynamoDB) -> None:
    """Another request moves money before each write, so that each write names an outdated revision."""
    held(provider)
    numbers = iter(range(1000))

    def other_request(operation: str, parameters: dict[str, Any]) -> None:
        if operation == "PutItem":
            database.before = None
            provider.capture("key", f"other-{next(numbers)}", Money(1, "EUR"))
            database.before = other_request

    database.before = other_request
    with pytest.raises(ProviderUnavailable):
        provider.capture("key", "ours", Money(1, "EUR"))


def test_lost_store_answer_is_a_timeout_that_can_be_looked_up(provider: PaymentProvider, database: FakeDynamoDB) -> None:
    def lose(operation: str, _: dict[str, Any]) -> None:
        if operation == "PutItem":
            raise answer_lost()

    database.after = lose
    with pytest.raises(ProviderTimeout):
        provider.authorize("key", "tok_approved", TOTAL)
    database.after = None

    assert isinstance(provider.look_up("key"), Authorized)


def test_lookup_without_an_answer_is_unavailability(provider: PaymentProvider, database: FakeDynamoDB) -> None:
    def lose(_: str, __: dict[str, Any]) -> None:
        raise answer_lost()

    database.before = lose
    with pytest.raises(ProviderUnavailable):
        provider.look_up("key")


def test_tokens_are_not_stored(provider: PaymentProvider, database: FakeDynamoDB) -> None:
    provider.authorize("key", "4111111111111111", TOTAL)
    held(provider, "other")

    assert "4111111111111111" not in json.dumps(database.items("payments"))
    assert "tok_approved" not in json.dumps(database.items("payments"))
