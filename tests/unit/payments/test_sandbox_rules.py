"""The rules of the sandbox provider's accounts, for any sequence of requests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.domain.money import Money
from payments.provider import Authorized, Contradiction, Declined, ProviderRefused, Voided
from payments.sandbox import rules
from payments.sandbox.rules import Account

HUNDRED = Money(100, "EUR")
type Request = Callable[[Account | None, str, Money], Account]
TOKENS = ["tok_approved", "tok_declined", "tok_insufficient_funds", "tok_timeout_before", "tok_timeout_after", "tok_slow", "4111"]


def authorized(captured: int = 0) -> Account:
    account = rules.authorize(None, "key", "tok_approved", HUNDRED)
    return rules.capture(account, "capture-1", Money(captured, "EUR")) if captured else account


def contradiction(request: Callable[[], object]) -> Contradiction:
    with pytest.raises(ProviderRefused) as refused:
        request()
    return refused.value.code


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("tok_declined", "card_declined"),
        ("tok_insufficient_funds", "insufficient_funds"),
        ("4111111111111111", "invalid_token"),
        ("", "invalid_token"),
    ],
)
def test_declined_token_has_its_code(token: str, code: str) -> None:
    assert rules.authorize(None, "key", token, HUNDRED).payment == Declined(code)


@given(token=st.sampled_from(TOKENS), amount=st.integers(0, 10**9))
def test_repeated_request_changes_nothing_once_it_took_effect(token: str, amount: int) -> None:
    total = Money(amount, "EUR")
    account = None
    for _ in range(2):
        account = rules.authorize(account, "key", token, total)

    assert account
    assert account.payment
    assert rules.authorize(account, "key", token, total) == account


def test_lost_first_attempt_leaves_no_payment_and_the_retry_succeeds() -> None:
    lost = rules.authorize(None, "key", "tok_timeout_before", HUNDRED)

    assert lost.payment is None
    assert isinstance(rules.authorize(lost, "key", "tok_timeout_before", HUNDRED).payment, Authorized)


@pytest.mark.parametrize(
    ("token", "amount"), [("tok_slow", HUNDRED), ("tok_approved", Money(101, "EUR")), ("tok_approved", Money(100, "USD"))]
)
def test_key_identifies_one_request(token: str, amount: Money) -> None:
    assert contradiction(lambda: rules.authorize(authorized(), "key", token, amount)) == Contradiction.KEY_REUSED


def test_other_keys_have_other_authorizations() -> None:
    one, other = (rules.authorize(None, key, "tok_approved", HUNDRED).payment for key in ("key-1", "key-2"))

    assert one != other


def test_negative_amount_cannot_be_held() -> None:
    assert contradiction(lambda: rules.authorize(None, "key", "tok_approved", Money(-1, "EUR"))) == Contradiction.AMOUNT_INVALID


@given(token=st.sampled_from(TOKENS), attempts=st.integers(0, 2))
def test_no_authorization_follows_a_void(token: str, attempts: int) -> None:
    account = None
    for _ in range(attempts):
        account = rules.authorize(account, "key", token, HUNDRED)

    voided = rules.void(account)

    assert not isinstance(voided.payment, Authorized)
    assert rules.void(voided) == voided
    assert rules.authorize(voided, "key", token, HUNDRED) == voided


def test_void_names_its_authorization() -> None:
    account = authorized()
    assert isinstance(account.payment, Authorized)

    assert rules.void(account).payment == Voided(account.payment.authorization_id)
    assert rules.void(None).payment == Voided(None)


def test_void_releases_the_uncaptured_amount() -> None:
    account = authorized(captured=60)
    assert isinstance(account.payment, Authorized)

    voided = rules.void(account).payment

    assert voided == Voided(account.payment.authorization_id, captures=account.payment.captures)


def test_void_of_a_fully_captured_payment_has_no_effect() -> None:
    account = authorized(captured=100)

    assert rules.void(account) == account


def test_after_a_void_captures_are_refused_and_refunds_possible() -> None:
    voided = rules.void(authorized(captured=60))

    assert contradiction(lambda: rules.capture(voided, "capture-2", Money(1, "EUR"))) == Contradiction.NOT_AUTHORIZED
    assert isinstance(refunded := rules.refund(voided, "refund-1", Money(60, "EUR")).payment, Voided)
    assert (refunded.captured, refunded.refunded) == (60, 60)


def test_authorization_expires_once_and_only_while_uncaptured() -> None:
    expired = rules.expire(authorized(captured=60))

    assert isinstance(expired.payment, Voided)
    for account in (expired, authorized(captured=100), Account(Declined("card_declined"))):
        assert contradiction(lambda account=account: rules.expire(account)) == Contradiction.NOT_AUTHORIZED


@pytest.mark.parametrize(
    ("account", "request_", "amount", "code"),
    [
        (None, rules.capture, HUNDRED, Contradiction.UNKNOWN_PAYMENT),
        (Account(None), rules.capture, HUNDRED, Contradiction.UNKNOWN_PAYMENT),
        (Account(Declined("card_declined")), rules.capture, HUNDRED, Contradiction.NOT_AUTHORIZED),
        (Account(Declined("card_declined")), rules.refund, HUNDRED, Contradiction.NOT_AUTHORIZED),
        (Account(Voided()), rules.capture, HUNDRED, Contradiction.NOT_AUTHORIZED),
        (authorized(), rules.capture, Money(101, "EUR"), Contradiction.AMOUNT_EXCEEDED),
        (authorized(captured=60), rules.capture, Money(41, "EUR"), Contradiction.AMOUNT_EXCEEDED),
        (authorized(), rules.refund, Money(1, "EUR"), Contradiction.AMOUNT_EXCEEDED),
        (authorized(captured=60), rules.refund, Money(61, "EUR"), Contradiction.AMOUNT_EXCEEDED),
        (authorized(), rules.capture, Money(0, "EUR"), Contradiction.AMOUNT_INVALID),
        (authorized(), rules.capture, Money(-1, "EUR"), Contradiction.AMOUNT_INVALID),
        (authorized(captured=60), rules.refund, Money(-1, "EUR"), Contradiction.AMOUNT_INVALID),
        (authorized(), rules.capture, Money(1, "USD"), Contradiction.CURRENCY_MISMATCH),
    ],
)
def test_amounts_are_limited_by_the_payment(account: Account | None, request_: Request, amount: Money, code: Contradiction) -> None:
    assert contradiction(lambda: request_(account, "move-1", amount)) == code


def test_movement_is_identified_by_its_key() -> None:
    account = authorized(captured=60)

    assert rules.capture(account, "capture-1", Money(60, "EUR")) == account
    for other, amount in ((rules.capture, 40), (rules.refund, 60)):
        assert (
            contradiction(lambda other=other, amount=amount: other(account, "capture-1", Money(amount, "EUR"))) == Contradiction.KEY_REUSED
        )


@given(st.lists(st.tuples(st.sampled_from(["capture", "refund", "void"]), st.integers(-5, 60), st.integers(0, 5)), max_size=20))
def test_refunds_never_exceed_captures_nor_captures_the_hold(requests: list[tuple[str, int, int]]) -> None:
    account = authorized()
    for kind, amount, key in requests:
        try:
            if kind == "void":
                account = rules.void(account)
            else:
                move = rules.capture if kind == "capture" else rules.refund
                account = move(account, f"{kind}-{key}", Money(amount, "EUR"))
        except ProviderRefused:
            continue
    payment = account.payment
    assert isinstance(payment, Authorized | Voided)
    assert 0 <= payment.refunded <= payment.captured <= 100
