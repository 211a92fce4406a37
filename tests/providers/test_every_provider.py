"""The contract that every payment provider fulfils."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from orderflow.domain.money import Money
from payments.provider import Authorized, Contradiction, Declined, Payment, PaymentProvider, ProviderRefused, ProviderUnavailable, Voided
from tests.providers.conftest import Subject

TOTAL = Money(2500, "EUR")


def euros(amount: int) -> Money:
    return Money(amount, "EUR")


@pytest.fixture
def authorized(subject: Subject, key: str) -> Authorized:
    payment = subject.provider.authorize(key, subject.tokens["approved"], TOTAL)
    assert isinstance(payment, Authorized)
    return payment


def contradiction(request: Callable[[], object]) -> Contradiction:
    with pytest.raises(ProviderRefused) as refused:
        request()
    return refused.value.code


def current(provider: PaymentProvider, key: str) -> Authorized | Voided:
    payment = provider.look_up(key)
    assert isinstance(payment, Authorized | Voided)
    return payment


class TestAuthorizing:
    def test_approved_token_authorizes_the_amount(self, provider: PaymentProvider, key: str, authorized: Authorized) -> None:
        assert authorized.amount == TOTAL
        assert authorized.authorization_id
        assert (authorized.captured, authorized.refunded) == (0, 0)
        assert provider.look_up(key) == authorized

    @pytest.mark.parametrize(
        ("token", "code"),
        [
            ("declined", "card_declined"),
            ("insufficient_funds", "insufficient_funds"),
            ("unknown", "invalid_token"),
            ("used", "invalid_token"),
            ("unsupported", "payment_method_unsupported_type"),
            ("wrong_currency", "payment_method_currency_mismatch"),
        ],
    )
    def test_decline_has_a_code_and_is_final(self, subject: Subject, key: str, token: str, code: str) -> None:
        for _ in range(2):
            assert subject.provider.authorize(key, subject.tokens[token], TOTAL) == Declined(code)
            subject.expire_keys()
        assert subject.provider.look_up(key) == Declined(code)
        assert subject.provider.void(key) == Declined(code)
        assert contradiction(lambda: subject.provider.capture(key, f"{key}:c", euros(1))) == Contradiction.NOT_AUTHORIZED

    def test_repeated_request_has_one_effect(self, subject: Subject, key: str, authorized: Authorized) -> None:
        for _ in range(2):
            assert subject.provider.authorize(key, subject.tokens["approved"], TOTAL) == authorized
            subject.expire_keys()

    def test_same_key_with_another_request_is_refused(self, subject: Subject, key: str, authorized: Authorized) -> None:
        for _ in range(2):
            assert (
                contradiction(lambda: subject.provider.authorize(key, subject.tokens["approved"], euros(2501))) == Contradiction.KEY_REUSED
            )
            assert (
                contradiction(lambda: subject.provider.authorize(key, subject.tokens["insufficient_funds"], TOTAL))
                == Contradiction.KEY_REUSED
            )
            subject.expire_keys()
        assert subject.provider.look_up(key) == authorized

    def test_amounts_in_yen_have_no_minor_unit(self, subject: Subject, key: str) -> None:
        payment = subject.provider.authorize(key, subject.tokens["approved"], Money(1250, "JPY"))
        capture = subject.provider.capture(key, f"{key}:c", Money(250, "JPY"))

        assert isinstance(payment, Authorized)
        assert payment.amount == Money(1250, "JPY")
        assert capture.amount == Money(250, "JPY")

    @pytest.mark.parametrize("amount", [euros(0), euros(49), Money(49, "JPY")])
    def test_amount_below_the_minimum_is_declined(self, subject: Subject, key: str, amount: Money) -> None:
        for _ in range(2):
            assert subject.provider.authorize(key, subject.tokens["approved"], amount) == Declined("amount_too_small")
            subject.expire_keys()
        assert subject.provider.look_up(key) == Declined("amount_too_small")
        assert subject.provider.void(key) == Declined("amount_too_small")
        assert contradiction(lambda: subject.provider.authorize(key, subject.tokens["approved"], TOTAL)) == Contradiction.KEY_REUSED
        assert contradiction(lambda: subject.provider.capture(key, f"{key}:c", euros(1))) == Contradiction.NOT_AUTHORIZED

    @pytest.mark.parametrize("amount", [Money(1234, "KWD"), Money(10_050, "MGA")])
    def test_amount_that_is_no_multiple_of_the_currency_step_is_declined(self, subject: Subject, key: str, amount: Money) -> None:
        assert subject.provider.authorize(key, subject.tokens["approved"], amount) == Declined("amount_invalid")
        assert subject.provider.look_up(key) == Declined("amount_invalid")

    def test_minimum_amount_is_authorized(self, subject: Subject, key: str) -> None:
        assert isinstance(subject.provider.authorize(key, subject.tokens["approved"], euros(50)), Authorized)

    def test_negative_amount_is_refused(self, subject: Subject, key: str) -> None:
        assert contradiction(lambda: subject.provider.authorize(key, subject.tokens["approved"], euros(-1))) == Contradiction.AMOUNT_INVALID
        assert subject.provider.look_up(key) is None

    @pytest.mark.parametrize("parcel", ["p\ufffdrcel", "パーセル" * 32, "pärcel", "a b\nc", "p" * 128])
    def test_keys_accept_every_parcel_id_of_carriers(self, subject: Subject, key: str, authorized: Authorized, parcel: str) -> None:
        for _ in range(2):
            assert subject.provider.capture(key, f"{key}:capture:{parcel}", euros(1000)).amount == euros(1000)
            assert subject.provider.refund(key, f"{key}:refund:parcel:{parcel}", euros(1000)).amount == euros(1000)
        payment = current(subject.provider, key)
        assert ([one.key for one in payment.captures], [one.key for one in payment.refunds]) == (
            [f"{key}:capture:{parcel}"],
            [f"{key}:refund:parcel:{parcel}"],
        )

    def test_unknown_key_has_no_payment(self, provider: PaymentProvider, key: str) -> None:
        assert provider.look_up(key) is None
        assert contradiction(lambda: provider.capture(key, f"{key}:c", euros(1))) == Contradiction.UNKNOWN_PAYMENT
        assert contradiction(lambda: provider.refund(key, f"{key}:r", euros(1))) == Contradiction.UNKNOWN_PAYMENT

    def test_concurrent_requests_make_one_authorization(self, subject: Subject, key: str) -> None:
        def authorize(_: int) -> Payment | None:
            try:
                return subject.provider.authorize(key, subject.tokens["approved"], TOTAL)
            except ProviderUnavailable:
                return None

        with ThreadPoolExecutor(4) as pool:
            payments = {payment for payment in pool.map(authorize, range(8)) if payment}

        assert payments == {subject.provider.look_up(key)}


class TestCapturing:
    def test_partial_captures_up_to_the_authorized_amount(self, provider: PaymentProvider, key: str, authorized: Authorized) -> None:
        first = provider.capture(key, f"{key}:c1", euros(1000))
        assert contradiction(lambda: provider.capture(key, f"{key}:c2", euros(1501))) == Contradiction.AMOUNT_EXCEEDED
        second = provider.capture(key, f"{key}:c2", euros(1500))

        payment = current(provider, key)
        assert isinstance(payment, Authorized)
        assert payment.captures == (first, second)
        assert first.capture_id != second.capture_id

    def test_repeated_capture_has_one_effect(self, subject: Subject, key: str, authorized: Authorized) -> None:
        first = subject.provider.capture(key, f"{key}:c1", euros(1000))
        for _ in range(2):
            subject.expire_keys()
            assert subject.provider.capture(key, f"{key}:c1", euros(1000)) == first
        assert contradiction(lambda: subject.provider.capture(key, f"{key}:c1", euros(999))) == Contradiction.KEY_REUSED
        assert current(subject.provider, key).captured == 1000

    @pytest.mark.parametrize(
        ("amount", "code"),
        [
            (euros(0), Contradiction.AMOUNT_INVALID),
            (euros(-5), Contradiction.AMOUNT_INVALID),
            (Money(5, "USD"), Contradiction.CURRENCY_MISMATCH),
            (euros(2501), Contradiction.AMOUNT_EXCEEDED),
        ],
    )
    def test_invalid_capture_is_refused(
        self, provider: PaymentProvider, key: str, authorized: Authorized, amount: Money, code: Contradiction
    ) -> None:
        assert contradiction(lambda: provider.capture(key, f"{key}:c1", amount)) == code
        assert provider.look_up(key) == authorized


class TestVoiding:
    def test_void_releases_the_whole_authorization(self, provider: PaymentProvider, key: str, authorized: Authorized) -> None:
        for _ in range(2):
            assert provider.void(key) == Voided(authorized.authorization_id)
        assert provider.look_up(key) == Voided(authorized.authorization_id)
        assert contradiction(lambda: provider.capture(key, f"{key}:c1", euros(1))) == Contradiction.NOT_AUTHORIZED

    def test_void_releases_the_uncaptured_amount(self, provider: PaymentProvider, key: str, authorized: Authorized) -> None:
        capture = provider.capture(key, f"{key}:c1", euros(1000))

        for _ in range(2):
            assert provider.void(key) == Voided(authorized.authorization_id, captures=(capture,))
        assert provider.capture(key, f"{key}:c1", euros(1000)) == capture
        assert contradiction(lambda: provider.capture(key, f"{key}:c2", euros(1))) == Contradiction.NOT_AUTHORIZED

    def test_full_capture_cannot_be_voided(self, provider: PaymentProvider, key: str, authorized: Authorized) -> None:
        provider.capture(key, f"{key}:c1", TOTAL)
        payment = provider.look_up(key)

        assert isinstance(payment, Authorized)
        assert provider.void(key) == payment

    def test_authorization_after_its_void_is_voided(self, subject: Subject, key: str) -> None:
        assert subject.provider.void(key) == Voided()

        for _ in range(2):
            assert subject.provider.authorize(key, subject.tokens["approved"], TOTAL) == Voided()
            subject.expire_keys()
        assert subject.provider.look_up(key) == Voided()

    def test_concurrent_authorization_and_void_end_voided(self, subject: Subject, key: str) -> None:
        with ThreadPoolExecutor(2) as pool:
            pool.submit(subject.provider.authorize, key, subject.tokens["approved"], TOTAL)
            pool.submit(subject.provider.void, key)

        assert isinstance(subject.provider.void(key), Voided)
        assert isinstance(subject.provider.look_up(key), Voided)


class TestRefunding:
    def test_partial_refunds_up_to_the_captured_amount(self, subject: Subject, key: str, authorized: Authorized) -> None:
        provider = subject.provider
        assert contradiction(lambda: provider.refund(key, f"{key}:r1", euros(1))) == Contradiction.AMOUNT_EXCEEDED
        provider.capture(key, f"{key}:c1", euros(1000))
        first = provider.refund(key, f"{key}:r1", euros(400))
        subject.expire_keys()
        assert provider.refund(key, f"{key}:r1", euros(400)) == first
        assert contradiction(lambda: provider.refund(key, f"{key}:r1", euros(300))) == Contradiction.KEY_REUSED
        assert contradiction(lambda: provider.refund(key, f"{key}:r2", euros(601))) == Contradiction.AMOUNT_EXCEEDED
        second = provider.refund(key, f"{key}:r2", euros(600))

        assert {refund.key: refund for refund in current(provider, key).refunds} == {first.key: first, second.key: second}
        assert first.refund_id != second.refund_id

    def test_captured_amount_can_be_refunded_after_a_void(self, provider: PaymentProvider, key: str, authorized: Authorized) -> None:
        provider.capture(key, f"{key}:c1", euros(1000))
        provider.void(key)

        refund = provider.refund(key, f"{key}:r1", euros(1000))

        assert current(provider, key).refunds == (refund,)

    @pytest.mark.parametrize(
        ("amount", "code"), [(euros(0), Contradiction.AMOUNT_INVALID), (Money(5, "USD"), Contradiction.CURRENCY_MISMATCH)]
    )
    def test_invalid_refund_is_refused(
        self, provider: PaymentProvider, key: str, authorized: Authorized, amount: Money, code: Contradiction
    ) -> None:
        provider.capture(key, f"{key}:c1", euros(1000))

        assert contradiction(lambda: provider.refund(key, f"{key}:r1", amount)) == code

    @pytest.mark.parametrize(
        ("token", "before", "after"),
        [
            ("approved", "succeeded", "succeeded"),
            ("refund_pending", "pending", "succeeded"),
            ("refund_fails_later", "succeeded", "failed"),
            ("refund_fails", "failed", "failed"),
        ],
    )
    def test_refund_ends_with_the_final_status_of_its_card(self, subject: Subject, key: str, token: str, before: str, after: str) -> None:
        provider = subject.provider
        provider.authorize(key, subject.tokens[token], TOTAL)
        provider.capture(key, f"{key}:c1", euros(1000))

        statuses = [provider.refund(key, f"{key}:r1", euros(400)).status]
        subject.conclude_refunds(key)
        for _ in range(2):
            statuses.append(provider.refund(key, f"{key}:r1", euros(400)).status)
            subject.expire_keys()

        assert statuses == [before, after, after]
        payment = current(provider, key)
        assert [(one.status, bool(one.reason)) for one in payment.refunds] == [(after, after == "failed")]
        assert payment.refunded == (400 if after == "succeeded" else 0)

    def test_amount_of_a_failed_refund_can_be_refunded_again(self, subject: Subject, key: str) -> None:
        provider = subject.provider
        provider.authorize(key, subject.tokens["refund_fails_later"], TOTAL)
        provider.capture(key, f"{key}:c1", euros(1000))
        provider.refund(key, f"{key}:r1", euros(1000))
        assert contradiction(lambda: provider.refund(key, f"{key}:r2", euros(1))) == Contradiction.AMOUNT_EXCEEDED
        subject.conclude_refunds(key)

        assert current(provider, key).refundable == 1000
        assert provider.refund(key, f"{key}:r2", euros(1000)).status == "succeeded"

    def test_pending_refund_cannot_be_refunded_again(self, subject: Subject, key: str) -> None:
        provider = subject.provider
        provider.authorize(key, subject.tokens["refund_pending"], TOTAL)
        provider.capture(key, f"{key}:c1", euros(1000))
        provider.refund(key, f"{key}:r1", euros(1000))

        assert contradiction(lambda: provider.refund(key, f"{key}:r2", euros(1))) == Contradiction.AMOUNT_EXCEEDED


class TestRecent:
    def test_day_has_the_keys_of_its_payments(self, subject: Subject, key: str) -> None:
        subject.provider.authorize(key, subject.tokens["approved"], TOTAL)
        today = datetime.now(UTC).date()

        found = {*subject.provider.recent(today), *subject.provider.recent(datetime.now(UTC).date())}

        assert key in found
        assert key not in {*subject.provider.recent(today - timedelta(days=7))}

    def test_day_has_the_keys_of_payments_refunded_on_it(self, subject: Subject, key: str) -> None:
        subject.provider.authorize(key, subject.tokens["approved"], TOTAL)
        subject.provider.capture(key, f"{key}:c1", euros(1000))
        today = datetime.now(UTC).date()
        before = [*subject.provider.recent(today)].count(key)
        subject.provider.refund(key, f"{key}:r1", euros(400))

        assert (before, [*subject.provider.recent(today)].count(key)) == (1, 2)
